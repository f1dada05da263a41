"""The last lines that a child printed while it read a file, to explain how it ended."""

import asyncio
import os

_MOST_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 16


class ParseOutput:
    """A pipe, read in the background; ``close`` it."""

    def __init__(self) -> None:
        self._reading, self.fd = os.pipe()
        """``fd``: where the child is to write."""
        os.set_blocking(self._reading, False)
        self._held = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reading, self._read)

    def text(self) -> str:
        """Return the last of what was written until now."""
        while self._read():
            pass
        return self._held.decode(errors="replace")

    def close(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._reading)
        os.close(self._reading)
        os.close(self.fd)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._reading, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        self._held += chunk
        del self._held[:-_MOST_BYTES]
        return bool(chunk)
