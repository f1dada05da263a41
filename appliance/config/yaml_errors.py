"""Plain-English messages for YAML that cannot be read, and what to write instead.

The parser's own words are about its grammar, and some repeat what is written, which may be a
password: ``*``, ``&``, ``!`` and ``%`` mean something at the start of a value. None is passed on.
"""

import re
from dataclasses import dataclass

import yaml
from yaml.reader import ReaderError

TOO_DEEP = "not YAML: nested too deeply"

_QUOTE = "quote the value when it is meant as text"
_SAYINGS: tuple[tuple[str, str], ...] = (
    # what the parser says of it, in its context → what a person is told
    (
        r"found character '\\t'",
        "a tab, which YAML does not allow here; indent with spaces",
    ),
    (r"found character '([@`%])'", "no value can start with {it}; {quote}"),
    (
        r"mapping values are not allowed.* again",
        "a second ': ' in this line; quote the value, or give each key its own line",
    ),
    (
        r"mapping values are not allowed",
        "this line is indented as if it continued the value above; indent keys alike, "
        "each with its ':'",
    ),
    (
        r"sequence entries are not allowed",
        "a list cannot begin here; put each '- ' on a line of its own",
    ),
    (r"mapping keys are not allowed", "a key cannot begin here; {quote}"),
    (
        r"could not find expected ':'",
        "a key without its ':'; or a line that belongs to the one above and is not "
        "indented",
    ),
    (
        r"quoted scalar.*unexpected end of stream",
        "the quote that opens here is never closed",
    ),
    (
        r"quoted scalar.*unexpected document separator",
        "a quote opened above is never closed",
    ),
    (
        r"unknown escape character|hexadecimal numbers",
        "no such escape in double quotes; write \\\\ for a backslash, or use single "
        "quotes",
    ),
    (
        r"undefined alias|scanning an alias|scanning an anchor|duplicate anchor",
        "a * or & at the start of a value has a meaning in YAML; {quote}",
    ),
    (
        r"scanning a tag|parsing a tag|tag handle|tag prefix|tag directive|%-escape",
        "a ! at the start of a value has a meaning in YAML; {quote}",
    ),
    (
        r"directive$|YAML directive",
        "a % at the start of a line has a meaning in YAML; {quote}",
    ),
    (
        r"block scalar",
        "after | or > comes a line end, perhaps with +, - or the indentation before it",
    ),
    (r"another document", "only one document is read; remove this '---'"),
    (
        r"flow .* variable",
        "quote a value with ${...} within brackets or braces",
    ),
    (
        r"flow (sequence|mapping|node).*stream end",
        "a bracket or brace opened above is never closed",
    ),
    (
        r"flow sequence",
        "a ',' or the closing ']' is missing; or a value is to be quoted",
    ),
    (
        r"flow mapping|flow node",
        "a ',' or the closing '}' is missing; or a value is to be quoted",
    ),
    (
        r"block collection",
        "this is not indented like the list above; begin each item with '- '",
    ),
    (
        r"block mapping.*'<scalar>'|block mapping.*flow",
        "this does not continue the value before it; quote the whole value",
    ),
    (r"document start.* end$", "the '...' above ends the document; remove it"),
    (
        r"document start",
        "this does not continue what is above; is that indented, quoted, bracketed right?",
    ),
    (
        r"block mapping",
        "this is not indented like the keys above it",
    ),
    (
        r"node content.*'[\]}]'",
        "a closing bracket or brace without its opening; {quote}",
    ),
    (r"node content", "a value is missing here; {quote}"),
)
_OTHER = "this cannot be read; is the indentation right, are values quoted?"


@dataclass(frozen=True, slots=True)
class _Said:
    """What the parser says, and where."""

    text: str
    mark: yaml.Mark | None


def explained(err: yaml.YAMLError, text: str) -> tuple[int, int, str]:
    """Return line, column and explanation; ``text`` is what was read."""
    if isinstance(err, ReaderError):
        line, column = _place(text, err.position)
        return line, column, _unprintable(err.character)
    said = _said(err, text)
    what = _OTHER
    for pattern, words in _SAYINGS:
        if match := re.search(pattern, said.text, re.DOTALL):
            it = match[1] if "{it}" in words else ""
            what = words.replace("{quote}", _QUOTE).replace("{it}", it)
            break
    line, column = (said.mark.line + 1, said.mark.column + 1) if said.mark else (1, 1)
    return line, column, f"not YAML: {what}"


def _said(err: yaml.YAMLError, written: str) -> _Said:
    if not isinstance(err, yaml.MarkedYAMLError):
        return _Said("", None)
    text = f"{err.context or ''} {err.problem or ''}"
    mark = err.problem_mark or err.context_mark
    if mark is not None:
        line = written.splitlines()[mark.line] if mark.line < _lines(written) else ""
        if re.search(r":\s", line[: mark.column]):
            text += " again"
        if "${" in line[: mark.column + 1]:
            text += " variable"
        if "document start" in text:
            text += _before(written)
    # The end of the file is not where a quote that is never closed has to be looked for.
    is_start_meant = "quoted scalar" in text and "stream" in text
    if is_start_meant and err.context_mark is not None:
        mark = err.context_mark
    return _Said(text, mark)


def _before(written: str) -> str:
    """Say what may have ended the document too early."""
    if re.search("^%", written, re.MULTILINE):
        return " directive"
    return " end" if re.search(r"^\.\.\.", written, re.MULTILINE) else ""


def _lines(text: str) -> int:
    return len(text.splitlines())


def _unprintable(character: int | bytes) -> str:
    number = character if isinstance(character, int) else character[0]
    if number == 0:
        return "not YAML: a zero byte; is this a text file, in UTF-8?"
    return f"not YAML: the unprintable character U+{number:04X}; remove it"


def _place(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")
