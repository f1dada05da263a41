"""Number of tries that this machine or container can run at once, by its CPUs and memory."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BOX_BYTES = 600 * 1024 * 1024
"""What the appliance needs for itself, with room for a parse."""
_TRY_BYTES = 120 * 1024 * 1024
_LEAST = 2
_MOST = 32
_UNLIMITED = 1 << 60
"""cgroup v1 writes "no limit" as a number above this."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process may use."""

    cpus: float
    memory_bytes: int


def parallelism(machine: Machine) -> int:
    """Return the default of ``worker.parallelism``."""
    by_cpu = max(_LEAST, int(machine.cpus * 2))
    by_memory = (machine.memory_bytes - _BOX_BYTES) // _TRY_BYTES
    return max(1, min(_MOST, by_cpu, by_memory))


def machine(
    *, cgroups: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")
) -> Machine:
    """Read the limits of this container, or else of the machine."""
    cpus = [float(_cpu_count())]
    memory = [_total_memory(proc)]
    for folder in _folders(cgroups, proc):
        cpus += _cpu_limit(folder)
        memory += _memory_limit(folder)
    return Machine(cpus=min(cpus), memory_bytes=min(memory))


def memory_left(
    *, cgroups: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")
) -> float:
    """Return the part of the memory of this container or machine that could be had at once, 0 to 1."""
    told = dict(
        line.split(":", 1) for line in _text(proc / "meminfo").splitlines() if line
    )
    if not {"MemTotal", "MemAvailable"} <= told.keys():
        return 0.0
    total, free = (int(told[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    parts = [free / total]
    for folder in _folders(cgroups, proc):
        limits = [limit for limit in _memory_limit(folder) if limit]
        parts += [1 - _memory_used(folder) / limit for limit in limits]
    return max(0.0, min(parts))


def _memory_used(folder: Path) -> int:
    """Return what a cgroup uses, without what the kernel would give back: files not looked at lately."""
    stats = dict(
        line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines()
    )
    names = ("memory.current", "memory.usage_in_bytes")
    used = sum(int(text) for name in names if (text := _text(folder / name)).isdigit())
    given_back = stats.get("inactive_file", stats.get("total_inactive_file", "0"))
    return max(0, used - int(given_back))


def _cpu_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _total_memory(proc: Path) -> int:
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return _UNLIMITED


def _folders(cgroups: Path, proc: Path) -> Iterator[Path]:
    """Yield the cgroup folders that bind this process: its own and those around it.

    In a container the limits are usually at the root of what is mounted; version 1
    has one tree a controller.
    """
    yield cgroups
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for root in (cgroups, *(cgroups / name for name in controllers.split(","))):
            own = root / path.lstrip("/")
            yield from (own, *(up for up in own.parents if up.is_relative_to(root)))


def _cpu_limit(folder: Path) -> list[float]:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    quota = quota or _text(folder / "cpu.cfs_quota_us")
    period = period or _text(folder / "cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        return [int(quota) / int(period)]
    return []


def _memory_limit(folder: Path) -> list[int]:
    names = ("memory.max", "memory.limit_in_bytes")
    texts = [_text(folder / name) for name in names]
    return [int(text) for text in texts if text.isdigit() and int(text) < _UNLIMITED]


def _text(path: Path) -> str:
    """Return what a file of the kernel says; nothing when this kernel has no such file."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
