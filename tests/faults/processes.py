"""The processes of a box, found in /proc by what they are."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

_DEADLINE_S = 50.0
_POLL_S = 0.05


def family(root: int) -> dict[int, str]:
    """Return the command lines of a process and all below it, by pid."""
    above = parents()
    found = {root}
    while True:
        more = {pid for pid, parent in above.items() if parent in found} - found
        if not more:
            return {pid: _command(pid) for pid in found}
        found |= more


def the_one(root: int, words: str) -> int:
    """Return the process below ``root`` that is nearest to it and has these words on its command line."""
    named = [pid for pid, command in family(root).items() if words in command]
    assert named, f"no process of the box has {words!r} on its command line"
    return min(named)


def until(
    what: str, is_so: Callable[[], bool], *, patience_s: float = _DEADLINE_S
) -> None:
    """Wait for a fact, or fail saying which one did not come about."""
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s: {what}"
        time.sleep(_POLL_S)


def parents() -> dict[int, int]:
    """Return the parent of every process there is."""
    return dict(_all())


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process, and it is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _all() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            yield int(folder.name), int(stat.rpartition(")")[2].split()[1])


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace")
