"""Check whether the data folder of a container outlives it.

Reads the kernel's table of mounts; a plain function of its text.
"""

import re
from pathlib import Path

_ANONYMOUS = re.compile(r"/volumes/[0-9a-f]{64}/_data$")
_PASSING = ("tmpfs", "ramfs", "overlay", "aufs")
_OCTAL = re.compile(r"\\([0-7]{3})")
_LOST = (
    "Runs, logs and keys are lost with this container. "
    "Start it with a named volume: docker run -v appliance-data:{data}"
)


def warning(mountinfo: str, data: Path) -> str | None:
    """Say why ``data`` does not outlive the container; None when it does.

    Args:
        mountinfo: the text of ``/proc/self/mountinfo``.
        data: the data folder, absolute.
    """
    lost = _LOST.format(data=data)
    found = _mount_of(mountinfo, data)
    if found is None or found[0] == Path("/"):
        return f"{data} is not a volume. {lost}"
    _, source, kind = found
    if kind in _PASSING:
        return f"{data} is {kind}, not a volume. {lost}"
    if _ANONYMOUS.search(source):
        return (
            f"{data} is an anonymous volume, which `docker run --rm` deletes and "
            f"nothing finds again. {lost}"
        )
    return None


def _mount_of(mountinfo: str, data: Path) -> tuple[Path, str, str] | None:
    """Return mount point, path within its file system and kind of the closest mount."""
    found = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        parts = before.split()
        point = Path(_unescaped(parts[4]))
        closer = found is None or len(point.parts) >= len(found[0].parts)
        if data.is_relative_to(point) and closer:
            found = (point, _unescaped(parts[3]), after.split()[0])
    return found


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
