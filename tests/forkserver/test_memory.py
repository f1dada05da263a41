"""What a child writes to, another has already; in plain processes, without Airflow."""

import mmap
import os
import resource
from collections.abc import Callable

import pytest

from appliance.forkserver.memory import Footprints, use_huge_pages

PAGES = 300
STEP = 3 * mmap.PAGESIZE


def in_child(work: Callable[[], int]) -> int:
    """Return what ``work`` returns in a forked child, at most 255."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = min(work(), 254)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@pytest.fixture
def memory() -> mmap.mmap:
    memory = mmap.mmap(-1, PAGES * STEP, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"x" * (PAGES * STEP))
    return memory


def write(memory: mmap.mmap) -> int:
    """Write to every third page; return how often the kernel had to help."""
    before = faults()
    for number in range(PAGES):
        memory[number * STEP] = 1
    return faults() - before


def test_child_finds_its_pages_ready(memory: mmap.mmap) -> None:
    footprints = Footprints()

    def first() -> int:
        count = write(memory)
        footprints.leave()
        return count

    def second() -> int:
        footprints.follow()
        return write(memory)

    assert in_child(first) == 254  # That is, 254 or more.
    assert in_child(second) < 20


def test_child_that_wrote_too_much_is_no_example(memory: mmap.mmap) -> None:
    footprints = Footprints()
    footprints.MOST_PAGES = PAGES - 1

    def first() -> int:
        write(memory)
        footprints.leave()
        return 0

    def second() -> int:
        footprints.follow()
        return write(memory)

    in_child(first)
    assert in_child(second) == 254


def test_huge_pages_change_nothing_else(memory: mmap.mmap) -> None:
    def work() -> int:
        use_huge_pages()
        return 0 if memory[5] == ord("x") else 1

    assert in_child(work) == 0
