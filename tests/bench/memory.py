"""How much memory processes hold, shared pages divided among those who share them (PSS)."""

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_KIB_PER_MIB = 1024


def pss_mb(roots: list[int]) -> float:
    """Return the PSS of processes and all below them, in MiB."""
    return sum(_pss_kib(pid) for root in roots for pid in tree(root)) / _KIB_PER_MIB


def tree(root: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield root
    for child in _PROC.glob(f"{root}/task/*/children"):
        for pid in child.read_text().split():
            yield from tree(int(pid))


def _pss_kib(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # It has just ended.
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
