"""YAML and JSON reader whose values remember the line and column where they were written.

Plain scalars mean what YAML 1.2 says: only ``true`` and ``false`` are booleans, a number is
what JSON calls a number; ``on``, ``0123``, ``12:30`` and ``2026-01-01`` stay text.

Secrets are kept out of the file by ``!env NAME``, an environment variable, ``!file PATH``, the
content of a file without its last line end, relative to the file that names it, and, in
appliance.yaml, ``${NAME}`` within any value. What they give is text, and no message repeats it.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from appliance.config.interpolation import BadReference, Interpolation
from appliance.config.problems import Problems, SourceLocation, repeatable
from appliance.config.yaml_errors import TOO_DEEP, explained

Plain = str | int | float | bool | None
Tree = "Plain | list[Value] | dict[str, Value]"

_YAML = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    _YAML + name for name in ("str", "int", "float", "bool", "null", "timestamp")
) | {f"{_YAML}value"}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_SHELL_VARIABLE = re.compile(r"\$[A-Za-z_]\w*")
_VARIABLE = re.compile(
    r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?"
)
_BAD_VARIABLE = "expected ${NAME} or ${NAME:-what to use when it is not set}"
_LITERAL = "a plain ${ is written $${"
_MOST_DIGITS = 1000
"""Longer numbers are text; Python itself refuses them at some length."""
_MOST_VALUES = 100_000
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Value:
    """A value, its name from the root (``worker.grace``) and where it and its key are."""

    name: str
    place: SourceLocation
    key_place: SourceLocation
    data: "Plain | list[Value] | dict[str, Value]"
    written: str | None = None
    """A scalar as the file spells it."""
    origin: str | None = None
    """Where it comes from when not from this text; then no message repeats it."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a text is read with: its name in messages, its folder, what it may refer to."""

    name: str
    folder: Path
    references: Interpolation
    has_variables: bool = False
    """Whether ``${NAME}`` stands for an environment variable, or is plain text."""


def read_file(path: Path, source: Source, problems: Problems) -> Value | None:
    """Read a YAML or ``.json`` file; None when it is empty or cannot be read."""
    try:
        text = source.references.text(path)
    except BadReference as err:
        problems.add(source.name, str(err))
        return None
    if path.suffix.lower() == ".json":
        return read_json(text, source, problems)
    return read_text(text, source, problems)


def read_json(text: str, source: Source, problems: Problems) -> Value | None:
    """Read JSON, which is YAML but for tabs."""
    try:
        json.loads(text)
    except json.JSONDecodeError as err:
        problems.add(
            SourceLocation(source.name, err.lineno, err.colno), f"not JSON: {err.msg}"
        )
        return None
    except RecursionError:
        problems.add(SourceLocation(source.name, 1, 1), TOO_DEEP)
        return None
    return read_text(text.replace("\t", " "), source, problems)


def read_text(text: str, source: Source, problems: Problems) -> Value | None:
    """Read one YAML document; None when there is nothing in it or it is not YAML."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return None
        return _Reading(source, problems).value(node, name="", key=node)
    except yaml.YAMLError as err:
        line, column, what = explained(err, text)
        problems.add(SourceLocation(source.name, line, column), what)
    except RecursionError:
        problems.add(SourceLocation(source.name, 1, 1), TOO_DEEP)
    except _TooMany as err:
        problems.add(
            err.place, f"more than {_MOST_VALUES} values; do aliases multiply?"
        )
    return None


class _TooMany(Exception):
    """The file has more values than a person would write."""

    def __init__(self, place: SourceLocation) -> None:
        super().__init__(place)
        self.place = place


class _Reading:
    """Turns the nodes of one document into values."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._open: list[yaml.Node] = []
        self._count = 0

    def value(self, node: yaml.Node, *, name: str, key: yaml.Node) -> Value:
        place = self._place(node)
        self._count += 1
        if self._count > _MOST_VALUES:
            raise _TooMany(place)
        written = origin = None
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
            data, written, origin = self._scalar(node)
        self._open.pop()
        return Value(name, place, self._place(key), data, written, origin)

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
                what = f"key {repeatable(text)} is here twice, first in line {first}"
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

    def _scalar(self, node: yaml.ScalarNode) -> tuple[Plain, str | None, str | None]:
        """Return a scalar, how it is spelt, and where it comes from if not from here."""
        text = _whole_characters(node.value)
        if node.tag in ("!env", "!file"):
            found = self._found(node)
            return found, found, f"what {node.tag} gives"
        if node.tag not in _PLAIN_TAGS:
            self._unknown_tag(node)
            return text, text, None
        if self._source.has_variables and "$" in text:
            filled = self._filled(node, text)
            if filled != text:
                return filled, filled, "what the environment gives"
        if node.style is not None or node.tag == f"{_YAML}str":
            return _json_exponent(node, text), text, None
        data = _plain(text)
        return data, None if data is None else text, None

    def _found(self, node: yaml.ScalarNode) -> str | None:
        """Return what ``!env NAME`` or ``!file PATH`` gives."""
        references = self._source.references
        notes = len(references.notes)
        try:
            if node.tag == "!env":
                return references.variable(node.value)
            if not node.value:
                raise BadReference("!file needs the path of a file")  # noqa: TRY301
            return references.content(
                self._source.folder / Path(node.value).expanduser()
            )
        except BadReference as err:
            self._problems.add(self._place(node), str(err))
            return None
        finally:
            for index in range(notes, len(references.notes)):
                references.notes[index] = (
                    f"{self._place(node)}: {references.notes[index]}"
                )

    def _filled(self, node: yaml.ScalarNode, text: str) -> str:
        """Return ``text`` with every ``${NAME}`` replaced; ``$${`` is a plain ``${``."""
        if node.style is None and _SHELL_VARIABLE.fullmatch(text):
            name = text.removeprefix("$")
            what = (
                f"${name} is not replaced here: write ${{{name}}}, or quote it when it "
                "is meant as text"
            )
            self._problems.add(self._place(node), what)
            return text

        def fill(match: re.Match[str]) -> str:
            if match[0].startswith("$$"):
                return match[0].removeprefix("$")
            name, default = match["name"], match["default"]
            try:
                if name is None:
                    raise BadReference(_BAD_VARIABLE)  # noqa: TRY301
                found = self._source.references.variable(name)
            except BadReference as err:
                if default is not None:
                    return default
                self._problems.add(self._place(node), f"{err}; {_LITERAL}")
                return ""
            return found or default or ""

        return _VARIABLE.sub(fill, text)

    def _refuse_tag(self, node: yaml.Node, expected: str) -> None:
        if node.tag != expected:
            self._unknown_tag(node)

    def _unknown_tag(self, node: yaml.Node) -> None:
        # Any other tag may be the start of a password.
        is_yaml = node.tag.startswith(_YAML)
        tag = f" '{node.tag.replace(_YAML, '!!')}'" if is_yaml else ""
        what = f"unknown tag{tag}, expected !env or !file; quote a value with a ! first"
        self._problems.add(self._place(node), what)

    def _place(self, node: yaml.Node) -> SourceLocation:
        mark = node.start_mark
        return SourceLocation(self._source.name, mark.line + 1, mark.column + 1)


def _plain(text: str) -> Plain:
    """Read an unquoted scalar as YAML 1.2's core schema and JSON do."""
    if text in _NULLS:
        return None
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if _INTEGER.fullmatch(text) and len(text) <= _MOST_DIGITS:
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
