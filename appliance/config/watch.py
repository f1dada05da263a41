"""Detects that a source of the configuration was saved, and loads the configuration again.

Looked at every ``EVERY_S``; what changed is read once it has stayed the same for one look, since an
editor may write a file in two steps. What cannot be used changes nothing and is told once; it is read
again every few looks, as a file it names may have come meanwhile.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.config.model import Config
from appliance.config.schema import changed, with_live
from appliance.errors import ConfigError

EVERY_S = 0.4
_AGAIN_AFTER_LOOKS = 4

_Stamp = tuple[Path, int, int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """The configuration in force from now on, and the messages for people."""

    config: Config
    text: str
    is_bad: bool = False


class Watch:
    """Looks after one configuration. ``look`` reads files: call it in a thread."""

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        """Begin with the configuration in force; ``load`` reads it again."""
        self._config = config
        self._load = load
        self._sources = config.sources
        self._seen = _stamps(self._sources)
        self._read = self._seen
        self._had_file = config.file.exists()
        self._said = ""
        self._looks = 0

    def look(self) -> Change | None:
        """Return what changed since the last look, if something did."""
        stamps = _stamps(self._sources)
        is_settled, self._seen = stamps == self._seen, stamps
        self._looks += 1
        is_due = bool(self._said) and self._looks % _AGAIN_AFTER_LOOKS == 0
        if not is_settled or (stamps == self._read and not is_due):
            return None
        try:
            found = self._loaded()
        except ConfigError as err:
            self._read = stamps
            return self._bad(str(err))
        return self._taken(found)

    def _loaded(self) -> Config:
        found = self._load()
        if self._had_file and not found.is_in_environment and not found.file.exists():
            raise ConfigError(f"{found.file}: the file is gone")
        return found

    def _bad(self, problems: str) -> Change | None:
        if problems == self._said:
            return None
        self._said = problems
        text = (
            "the configuration was saved with mistakes; nothing changes until they are "
            f"mended:\n{problems}"
        )
        return Change(self._config, text, is_bad=True)

    def _taken(self, found: Config) -> Change | None:
        was_bad, self._said = bool(self._said), ""
        self._had_file = self._had_file or found.file.exists()
        self._sources = found.sources
        self._seen = self._read = _stamps(found.sources)
        live, restart = changed(self._config, found)
        if not live and not restart:
            text = "the configuration is without mistakes again"
            return Change(self._config, text) if was_bad else None
        self._config = with_live(self._config, found)
        parts = []
        if live:
            parts.append(f"in force now: {', '.join(live)}")
        if restart:
            parts.append(f"needs a restart: {', '.join(restart)}")
        return Change(self._config, f"the configuration was saved; {'; '.join(parts)}")


def _stamps(paths: Iterable[Path]) -> frozenset[_Stamp]:
    return frozenset(stamp for path in paths for stamp in _stamp(path))


def _stamp(path: Path) -> list[_Stamp]:
    try:
        found = path.stat()
    except OSError:
        return []
    return [(path, found.st_mtime_ns, found.st_size, found.st_ino)]
