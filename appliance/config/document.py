"""Reads YAML (and JSON) into values that remember where they were written.

Plain scalars mean what YAML 1.2 says: only ``true`` and ``false`` are booleans, a number is
what JSON calls a number; ``on``, ``0123``, ``12:30`` and ``2026-01-01`` stay text. Two tags
keep secrets out of the file: ``!env NAME`` is an environment variable, ``!file PATH`` the
content of a file without its last line end, relative to the file that names it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from appliance.config.problems import Place, Problems

Plain = str | int | float | bool | None
Tree = "Plain | list[Value] | dict[str, Value]"

_YAML = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_SHELL_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Value:
    """A value, its name from the root (``worker.grace``) and where it and its key are."""

    name: str
    place: Place
    key_place: Place
    data: "Plain | list[Value] | dict[str, Value]"
    written: str | None = None
    """A scalar as the file spells it."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a text is read with: its name in messages, its folder, the environment."""

    name: str
    folder: Path
    environ: Mapping[str, str]


def read_file(
    path: Path, *, name: str, environ: Mapping[str, str], problems: Problems
) -> Value | None:
    """Read a YAML or ``.json`` file; None when it is empty or cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        problems.add(name, f"cannot be read: {_reason(err)}")
        return None
    source = Source(name=name, folder=path.parent, environ=environ)
    if path.suffix.lower() == ".json":
        return read_json(text, source, problems)
    return read_text(text, source, problems)


def read_json(text: str, source: Source, problems: Problems) -> Value | None:
    """Read JSON, which is YAML but for tabs."""
    try:
        json.loads(text)
    except json.JSONDecodeError as err:
        problems.add(Place(source.name, err.lineno, err.colno), f"not JSON: {err.msg}")
        return None
    return read_text(text.replace("\t", " "), source, problems)


def read_text(text: str, source: Source, problems: Problems) -> Value | None:
    """Read one YAML document; None when there is nothing in it or it is not YAML."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = err.problem or err.context or "cannot be read"
        problems.add(Place(source.name, line, column), f"not YAML: {what}")
        return None
    except yaml.YAMLError as err:
        what = str(err).splitlines()[0]
        problems.add(Place(source.name, 1, 1), f"not YAML: {what}")
        return None
    if node is None:
        return None
    return _Reading(source, problems).value(node, name="", key=node)


class _Reading:
    """Turns the nodes of one document into values."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, *, name: str, key: yaml.Node) -> Value:
        place = self._place(node)
        written = None
        data: Plain | list[Value] | dict[str, Value] = None
        if any(node is outer for outer in self._open):
            self._problems.add(place, "an alias refers to what contains it")
            return Value(name, place, self._place(key), None)
        self._open.append(node)
        if isinstance(node, yaml.MappingNode):
            self._refuse_tag(node, f"{_YAML}map")
            data = self._mapping(node, name)
        elif isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node, f"{_YAML}seq")
            data = [
                self.value(item, name=f"{name}[{index}]", key=item)
                for index, item in enumerate(node.value)
            ]
        elif isinstance(node, yaml.ScalarNode):
            data, written = self._scalar(node)
        self._open.pop()
        return Value(name, place, self._place(key), data, written)

    def _mapping(self, node: yaml.MappingNode, name: str) -> dict[str, Value]:
        found: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key, item in node.value:
            if key.tag == f"{_YAML}merge":
                merged.update(self._merge(item, name))
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._problems.add(self._place(key), "a key must be text")
                continue
            text = _whole_characters(key.value)
            value = self.value(item, name=f"{name}.{text}" if name else text, key=key)
            if text in found:
                first = found[text].key_place.line
                what = f"key '{text}' is here twice, first in line {first}"
                self._problems.add(self._place(key), what)
                continue
            found[text] = value
        return merged | found

    def _merge(self, node: yaml.Node, name: str) -> dict[str, Value]:
        """Read what ``<<`` refers to: one mapping or a list of them, the first wins."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Value] = {}
        for part in reversed(parts):
            value = self.value(part, name=name, key=part)
            if isinstance(value.data, dict):
                merged.update(value.data)
            else:
                self._problems.add(value.place, "'<<' needs a mapping")
        return merged

    def _scalar(self, node: yaml.ScalarNode) -> tuple[Plain, str | None]:
        text = _whole_characters(node.value)
        if node.tag in ("!env", "!file"):
            found = self._env(node) if node.tag == "!env" else self._file(node)
            return found, found
        if not node.tag.startswith(_YAML) or node.tag == f"{_YAML}binary":
            self._unknown_tag(node)
            return text, text
        if node.style is not None or node.tag == f"{_YAML}str":
            self._refuse_shell_variable(node)
        if node.style is not None or node.tag == f"{_YAML}str":
            return _json_exponent(node, text), text
        data = _plain(text)
        return data, None if data is None else text

    def _env(self, node: yaml.ScalarNode) -> str | None:
        found = self._source.environ.get(node.value)
        if found is None:
            what = f"environment variable '{node.value}' is not set"
            self._problems.add(self._place(node), what)
        return found

    def _file(self, node: yaml.ScalarNode) -> str | None:
        path = self._source.folder / Path(node.value).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            what = f"file '{path}' cannot be read: {_reason(err)}"
            self._problems.add(self._place(node), what)
            return None
        return text.removesuffix("\n").removesuffix("\r")

    def _refuse_shell_variable(self, node: yaml.ScalarNode) -> None:
        """Refuse an unquoted ``$NAME`` or ``${NAME}``, which nothing would replace."""
        match = _SHELL_VARIABLE.fullmatch(node.value)
        if match and node.style is None:
            what = (
                f"{match[0]} is not replaced here: write !env {match[1] or match[2]}, "
                "or quote it when it is meant as text"
            )
            self._problems.add(self._place(node), what)

    def _refuse_tag(self, node: yaml.Node, expected: str) -> None:
        if node.tag != expected:
            self._unknown_tag(node)

    def _unknown_tag(self, node: yaml.Node) -> None:
        tag = node.tag.replace(_YAML, "!!")
        what = f"unknown tag '{tag}', expected !env or !file"
        self._problems.add(self._place(node), what)

    def _place(self, node: yaml.Node) -> Place:
        mark = node.start_mark
        return Place(self._source.name, mark.line + 1, mark.column + 1)


def _plain(text: str) -> Plain:
    """Read an unquoted scalar as YAML 1.2's core schema and JSON do."""
    if text in _NULLS:
        return None
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and any(map(str.isdigit, text)):
        return float(text)
    return text


def _json_exponent(node: yaml.ScalarNode, text: str) -> Plain:
    """Read ``1e5``, a number to JSON and to YAML 1.2 but not to PyYAML."""
    if node.style is None and "e" in text.lower() and _NUMBER.fullmatch(text):
        return _plain(text)
    return text


def _whole_characters(text: str) -> str:
    r"""Join what JSON writes as two escapes, as in ``\ud83d\ude00``."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _reason(err: OSError | UnicodeDecodeError) -> str:
    if isinstance(err, OSError):
        return err.strerror or str(err)
    return "it is not UTF-8 text"
