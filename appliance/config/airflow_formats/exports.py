"""Reads the three file formats of Airflow's export commands into named values."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from appliance.config import fields
from appliance.config.airflow_formats.connections import connections
from appliance.config.airflow_formats.variables import variables
from appliance.config.interpolation import Interpolation
from appliance.config.model import Connection
from appliance.config.problems import Problems, SourceLocation
from appliance.config.yaml_values import Source, Value, read_file

_KINDS = (".json", ".yaml", ".yml", ".env")
_T = TypeVar("_T")


def read_connections(
    path: Path, *, environ: Mapping[str, str] | None = None
) -> dict[str, Connection]:
    """Read a file of ``airflow connections export``, or a plain mapping.

    Args:
        path: a ``.json``, ``.yaml``, ``.yml`` or ``.env`` file.
        environ: what the file may refer to.

    Raises:
        ConfigError: with all that is wrong in the file.
    """
    return _read(path, connections, environ)


def read_variables(
    path: Path, *, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Read a file of ``airflow variables export``, as ``read_connections`` does."""
    return _read(path, variables, environ)


def _read(
    path: Path,
    make: Callable[[Mapping[str, Value], Problems], dict[str, _T]],
    environ: Mapping[str, str] | None,
) -> dict[str, _T]:
    problems = Problems()
    references = Interpolation(environ or {}, folder=Path())
    entries = _read_entries(path, references=references, problems=problems)
    found = make(entries, problems)
    problems.check()
    return found


def _read_entries(
    path: Path, *, references: Interpolation, problems: Problems
) -> dict[str, Value]:
    """Read a mapping of ids to values, by the file's ending."""
    kind = path.suffix.lower() or path.name.lower()
    if kind not in _KINDS:
        what = f"unknown kind of file, expected one of {', '.join(_KINDS)}"
        problems.add(str(path), what)
        return {}
    if kind == ".env":
        return _read_env(path, problems)
    source = Source(str(path), path.parent, references)
    root = read_file(path, source, problems)
    if root is None or root.data is None:
        return {}
    if not isinstance(root.data, dict):
        problems.add(root.place, fields.wrong_type(root, "a mapping", secret=True))
        return {}
    return root.data


def _read_env(path: Path, problems: Problems) -> dict[str, Value]:
    """Read ``NAME=value`` lines; empty lines and those that start with # are skipped."""
    found: dict[str, Value] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        problems.add(str(path), f"cannot be read: {err}")
        return {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, separator, text = line.partition("=")
        place = SourceLocation(str(path), number, 1)
        if not (separator and key and text):
            problems.add(place, "expected NAME=value")
        elif key in found:
            first = found[key].place.line
            what = f"key '{key}' is here twice, first in line {first}"
            problems.add(place, what)
        else:
            value_place = SourceLocation(str(path), number, len(key) + 2)
            found[key] = Value(key, value_place, place, text, text)
    return found
