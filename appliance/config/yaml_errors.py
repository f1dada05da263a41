"""Plain-English messages for YAML that cannot be read, and what to write instead.

The parser's own words are about its grammar, and some repeat what is written, which may be a
password: ``*``, ``&``, ``!`` and ``%`` mean something at the start of a value. None is passed on.
"""

import re

import yaml
from yaml.reader import ReaderError

TOO_DEEP = "not YAML: nested too deeply"

_QUOTE = "quote the value when it is meant as text"
_NOT_CLOSED = "a ',' or the closing '{}' is missing; or a value is to be quoted"
_MESSAGES = {
    # pattern in what the parser says → message
    r"found character '\\t'": "a tab, which YAML does not allow here; indent with spaces",
    r"found character '([@`%])'": f"no value can start with {{it}}; {_QUOTE}",
    r"mapping values are not allowed.* again": "a second ': ' in this line; quote the value, or "
    "give each key its own line",
    r"mapping values are not allowed": "this line is indented as if it continued the value above; "
    "indent keys alike, each with its ':'",
    r"sequence entries are not allowed": "a list cannot begin here; put each '- ' on a line of its "
    "own",
    r"could not find expected ':'": "a key without its ':'; or a line that belongs to the one "
    "above and is not indented",
    r"quoted scalar.*unexpected end": "the quote that opens here is never closed",
    r"unknown escape character": "no such escape in double quotes; write \\\\ for a backslash, or "
    "use single quotes",
    r"alias|anchor": f"a * or & at the start of a value has a meaning in YAML; {_QUOTE}",
    r"\btag\b": f"a ! at the start of a value has a meaning in YAML; {_QUOTE}",
    r"block scalar": "after | or > comes a line end, perhaps with +, - or the indentation before "
    "it",
    r"another document": "only one document is read; remove this '---'",
    r"flow .* variable": "quote a value with ${...} within brackets or braces",
    r"flow .*stream end": "a bracket or brace opened above is never closed",
    r"flow sequence": _NOT_CLOSED.format("]"),
    r"flow mapping": _NOT_CLOSED.format("}"),
    r"block collection": "this is not indented like the list above; begin each item with '- '",
    r"block mapping.*'<scalar>'": "this does not continue the value before it; quote the whole "
    "value",
    r"document start.* ended": "the '...' above ends the document; remove it",
    r"block mapping": "this is not indented like the keys above it",
    r"node content.*'[\]}]'": f"a closing bracket or brace without its opening; {_QUOTE}",
}
"""What people meet, from the more special pattern to the more general one."""
_OTHER = "this cannot be read; is the indentation right, are values quoted and brackets closed?"


def explained(err: yaml.YAMLError, text: str) -> tuple[int, int, str]:
    """Return line, column and explanation; ``text`` is what was read."""
    if isinstance(err, ReaderError):
        before = text[: err.position]
        column = err.position - before.rfind("\n")
        return before.count("\n") + 1, column, _unprintable(err.character)
    if not isinstance(err, yaml.MarkedYAMLError):
        return 1, 1, f"not YAML: {_OTHER}"
    said, mark = _said(err, text)
    what = _OTHER
    for pattern, message in _MESSAGES.items():
        if match := re.search(pattern, said, re.DOTALL):
            what = message.replace("{it}", match[1] if match.re.groups else "")
            break
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return line, column, f"not YAML: {what}"


def _said(err: yaml.MarkedYAMLError, written: str) -> tuple[str, yaml.Mark | None]:
    """Return what the parser says, with a word on the text before it, and where."""
    said = f"{err.context or ''} {err.problem or ''}"
    # The end of the file is not where a quote that is never closed has to be looked for.
    if "quoted scalar" in said and "stream" in said and err.context_mark is not None:
        return said, err.context_mark
    mark = err.problem_mark or err.context_mark
    if mark is not None:
        line = [*written.splitlines(), ""][: mark.line + 1][-1]
        if re.search(r":\s", line[: mark.column]):
            said += " again"
        if "${" in line[: mark.column + 1]:
            said += " variable"
        if re.search(r"^\.\.\.", written, re.MULTILINE):
            said += " ended"
    return said, mark


def _unprintable(character: int | bytes) -> str:
    number = character if isinstance(character, int) else character[0]
    if number == 0:
        return "not YAML: a zero byte; is this a text file, in UTF-8?"
    return f"not YAML: the unprintable character U+{number:04X}; remove it"
