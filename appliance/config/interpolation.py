"""References of a configuration to environment variables and files: ``${NAME}``, ``!env``, ``!file``.

``NAME_FILE`` stands for ``NAME`` wherever a variable is asked for by name, as with the official images
of databases: the variable is what the file holds. Both at once is an error.

Of a file the last line end is left out: ``echo secret > file`` adds one that nobody means. That is
noted, for ``appliance config check`` to say. What was read is remembered, so that a change of it is seen.
"""

import errno
import re
import stat
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

_MOST_BYTES = 4 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE = "_FILE"
_TEMPORAL = (
    "TEMPORAL_ADDRESS",
    "TEMPORAL_API_KEY",
    "TEMPORAL_HOST",
    "TEMPORAL_NAMESPACE",
    "TEMPORAL_TASK_QUEUE",
    "TEMPORAL_TLS_CLIENT_CERT_DATA",
    "TEMPORAL_TLS_CLIENT_KEY_DATA",
    "TEMPORAL_TLS_SERVER_CA_CERT_DATA",
)
_CONNECTION = "AIRFLOW_CONN_"


class BadReference(ValueError):
    """What is referred to is not there; the text says what, never what it holds."""


class Interpolation:
    """Looks up the variables and files that a configuration refers to, and remembers them."""

    def __init__(self, environ: Mapping[str, str], *, folder: Path) -> None:
        """Look up in ``environ``; paths in it are relative to ``folder``."""
        self._environ = environ
        self._folder = folder
        self.files: set[Path] = set()
        """Every file that was looked for."""
        self.notes: list[str] = []
        """What was done to a value that its owner may want to know, a sentence each."""

    def variable(self, name: str) -> str:
        """Return an environment variable, or what the file that ``NAME_FILE`` names holds.

        Raises:
            BadReference: neither is set, both are, or the file cannot be read.
        """
        if not _NAME.fullmatch(name):
            raise BadReference(
                "this is no name of an environment variable: letters, digits and _"
            )
        value, path = self._environ.get(name), self._environ.get(name + _FILE)
        if value and path:
            raise BadReference(f"both {name} and {name}{_FILE} are set, unset one")
        if path:
            return self.content(self._folder / Path(path).expanduser())
        if value is None:
            raise BadReference(
                f"environment variable '{name}' is not set{self._near(name)}"
            )
        return value

    def content(self, path: Path) -> str:
        """Return what a file holds, without its last line end.

        Raises:
            BadReference: it cannot be read.
        """
        try:
            text = self.text(path)
        except BadReference as err:
            raise BadReference(f"file '{path}' {err}") from None
        kept = text.removesuffix("\n").removesuffix("\r")
        if kept != text:
            more = "" if not kept.endswith("\n") else "; it has more, which are kept"
            self.notes.append(f"the line end that ends '{path}' is left out{more}")
        return kept

    def text(self, path: Path) -> str:
        """Return what a text file holds.

        Raises:
            BadReference: it cannot be read, or is no text, or too large to be meant.
        """
        self.files.add(path)
        try:
            found = _bytes(path)
        except IsADirectoryError:
            raise BadReference(
                "cannot be read: it is a folder (Docker makes one when "
                "what is mounted there does not exist)"
            ) from None
        except OSError as err:
            raise BadReference(f"cannot be read: {err.strerror or err}") from None
        if len(found) > _MOST_BYTES:
            raise BadReference(f"is larger than {_MOST_BYTES >> 20} MB")
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError as err:
            line = found.count(b"\n", 0, err.start) + 1
            raise BadReference(
                f"cannot be read: it is not UTF-8 text, see line {line}"
            ) from None

    def environment(
        self, ours: frozenset[str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the environment with every ``NAME_FILE`` that stands for a variable read.

        Args:
            ours: names of the appliance's own variables that may be kept in files.

        Returns:
            The environment, and why some of these files gave no value, by ``NAME_FILE``.
        """
        env = {name: value for name, value in self._environ.items() if value}
        wrong = {}
        for told in sorted(env):
            name = told.removesuffix(_FILE)
            if name == told or not self._stands_for(name, env[told], ours):
                continue
            try:
                env[name] = self.variable(name)
            except BadReference as err:
                wrong[told] = str(err)
        return env, wrong

    def _stands_for(self, name: str, path: str, ours: frozenset[str]) -> bool:
        if name in ours or name in _TEMPORAL:
            return True
        # What looks like a connection is one, of an id that ends in "_file".
        is_value = "://" in path or path.lstrip().startswith("{")
        return name.startswith(_CONNECTION) and name != _CONNECTION and not is_value

    def _near(self, name: str) -> str:
        known = [
            other.removesuffix(_FILE) for other in self._environ if _NAME.match(other)
        ]
        near = get_close_matches(name, known, n=1, cutoff=0.8)
        return f", did you mean '{near[0]}'?" if near else ""


def _bytes(path: Path) -> bytes:
    """Read a file, one byte more than it may have; never wait for a pipe's other end."""
    if stat.S_ISFIFO(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is a pipe")
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1)
