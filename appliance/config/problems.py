"""Collector of everything that is wrong with a configuration, so that one error reports it all."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from appliance.errors import ConfigError

_MOST_REPEATED = 60


@dataclass(frozen=True, slots=True, order=True)
class SourceLocation:
    """Where something is written; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problems:
    """Collects problems; nothing is raised before everything was looked at."""

    def __init__(self) -> None:
        self._found: list[tuple[SourceLocation | str, str]] = []
        self.places: dict[str, SourceLocation] = {}
        """Where each key that says something is written."""

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, where: SourceLocation | str, what: str) -> None:
        """Note a problem at a place in a file or in an environment variable."""
        if (where, what) not in self._found:
            self._found.append((where, what))

    def add_for(self, key: str, what: str) -> None:
        """Note a problem of a key, where it is written if it is."""
        self.add(self.places.get(key, key), what)

    def check(self) -> None:
        """Do nothing when nothing was found.

        Raises:
            ConfigError: one line a problem, in the order of the file; those of
                the environment come last.
        """
        if not self._found:
            return
        ordered = sorted(self._found, key=_order)
        raise ConfigError("\n".join(f"{where}: {what}" for where, what in ordered))


def unknown_key(
    key: str,
    section: str,
    known: Collection[str],
    *,
    hint: str | None = None,
    secret: bool = False,
) -> str:
    """Say that nothing is called ``key``, and what was probably meant.

    Args:
        key: what is written.
        section: where.
        known: what could be.
        hint: what to do, when that is known better than by likeness.
        secret: whether this may be a secret in the wrong place, not to be repeated.
    """
    inside = f" in {section}" if section else ""
    told = f"unknown key {'here' if secret else repeatable(key)}{inside}"
    near = get_close_matches(key.lower(), known, n=1)
    if hint:
        return f"{told}, {hint}"
    if near:
        return f"{told}, did you mean '{near[0]}'?"
    return f"{told}, expected one of {', '.join(sorted(known))}"


def repeatable(text: str) -> str:
    """Return a name for a message; what may be an address with a password is not repeated."""
    if len(text) > _MOST_REPEATED or "://" in text or "@" in text:
        return "what is written here"
    return f"'{text}'"


def _order(found: tuple[SourceLocation | str, str]) -> tuple[bool, str, int, int]:
    where = found[0]
    if isinstance(where, str):
        return True, where, 0, 0
    return False, where.file, where.line, where.column
