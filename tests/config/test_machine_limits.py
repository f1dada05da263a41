"""The default of worker.parallelism follows what the container may use."""

from pathlib import Path

import pytest

from appliance.config.machine_limits import Machine, machine, parallelism

GIB = 1 << 30


@pytest.mark.parametrize(
    ("cpus", "memory", "expected"),
    [
        (2, 4 * GIB, 4),
        (0.5, 4 * GIB, 2),
        (64, 64 * GIB, 32),
        (8, 1 * GIB, 3),
        (8, GIB // 2, 1),
    ],
)
def test_parallelism(cpus: float, memory: int, expected: int) -> None:
    assert parallelism(Machine(cpus=cpus, memory_bytes=memory)) == expected


def written(root: Path, files: dict[str, str]) -> Machine:
    for name, text in {"proc/meminfo": "MemTotal: 8388608 kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return machine(cgroups=root / "cgroup", proc=root / "proc")


def test_without_limits(tmp_path: Path) -> None:
    assert written(tmp_path, {"cgroup/memory.max": "max"}).memory_bytes == 8 * GIB


def test_cgroup_2_in_a_container(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        {
            "cgroup/memory.max": f"{GIB}\n",
            "cgroup/cpu.max": "50000 100000\n",
            "proc/self/cgroup": "0::/\n",
        },
    )
    assert found == Machine(cpus=0.5, memory_bytes=GIB)


def test_cgroup_2_limit_of_a_group_around(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        {
            "cgroup/a/memory.max": f"{GIB}",
            "cgroup/a/b/memory.max": "max",
            "proc/self/cgroup": "0::/a/b",
        },
    )
    assert found.memory_bytes == GIB


def test_cgroup_1(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        {
            "cgroup/memory/docker/x/memory.limit_in_bytes": f"{GIB}",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "cgroup/cpu,cpuacct/cpu.cfs_quota_us": "25000",
            "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "proc/self/cgroup": "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n",
        },
    )
    assert found.memory_bytes == GIB
