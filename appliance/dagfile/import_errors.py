"""Import errors made from tracebacks: line, source, exception and a hint. Child side.

Works on text, because text is what Airflow's DagBag keeps.
"""

import ast
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.dagfile.models import FileError
from appliance.forkserver import airflow2_names

_FRAME = re.compile(
    r'^ +File "(?P<path>[^"\n]+)", line (?P<line>\d+)(?:,? in (?P<where>.+))?$\n?'
    r"(?P<source>^ {4,}.*$)?",
    re.MULTILINE,
)
_NO_MODULE = re.compile(r"No module named '(airflow\.providers\.[\w.]+)'")
_PROVIDER_IMPORT = re.compile(r"airflow\.providers\.([\w.]+)")
_SQL_OPERATOR = re.compile(
    r"\b(?:Postgres|MySql|MsSql|Sqlite|Oracle|Trino|Vertica|Jdbc|Snowflake|Presto)Operator\b"
)
_MOST_CHARS = 4000
_SOURCE_CHARS = 300
_TWO_PART = frozenset(
    ("apache", "atlassian", "cncf", "common", "dbt", "microsoft", "alibaba", "ai")
)
"""First words of provider names that are two words: ``apache.spark``."""


@dataclass(frozen=True, slots=True)
class _Frame:
    path: str
    line: int
    source: str


def explain(
    text: str, *, file: str, path: Path, user_roots: Sequence[Path]
) -> FileError:
    """Make an error of what Airflow kept of an exception while reading ``path``.

    Args:
        text: A traceback, or a message alone.
        file: What to call the file.
        path: Where it is; frames in it, or in it as an archive, give the line.
        user_roots: Folders of the user's own code.
    """
    frames = [
        _Frame(
            match["path"],
            int(match["line"]),
            (match["source"] or "").strip()[:_SOURCE_CHARS],
        )
        for match in _FRAME.finditer(text)
    ]
    own = [frame for frame in frames if _is_in(frame.path, [path])]
    deep = [frame for frame in frames if _is_in(frame.path, user_roots)]
    lines = [_shortened(_exception(text) if frames else text.strip())]
    if own and own[-1].source:
        lines.append(f"    {own[-1].source}")
    if deep and own and not _is_in(deep[-1].path, [path]):
        lines.append(f"  {deep[-1].path}:{deep[-1].line}:")
        lines.append(f"    {deep[-1].source}")
    if hint := _hint(lines):
        lines.append(hint)
    return FileError(file, own[-1].line if own else None, "\n".join(lines))


def files_in(text: str) -> set[str]:
    """Return the files a traceback goes through."""
    return {match["path"] for match in _FRAME.finditer(text)}


def lines_of(dag_id: str, content: bytes) -> list[int]:
    """Return the lines of a file in which a DAG is made with this very id; none, if the id is computed."""
    try:
        nodes = ast.walk(ast.parse(content))
    except (SyntaxError, ValueError):
        return []  # An archive.
    return sorted(
        node.lineno
        for node in nodes
        if isinstance(node, ast.Call) and _names(node, dag_id)
    )


def _names(call: ast.Call, dag_id: str) -> bool:
    """Whether a call is of ``DAG`` or ``dag`` and gets this id."""
    made = ast.unparse(call.func).rpartition(".")[2].lower()
    arguments = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "dag_id")]
    return made == "dag" and any(
        isinstance(one, ast.Constant) and one.value == dag_id for one in arguments
    )


def crash_line(output: str, path: Path) -> int | None:
    """Return the line of ``path`` a dying interpreter was at, if it said so last.

    The format is faulthandler's: the innermost frame comes first.
    """
    dump = output[max(output.rfind("Thread 0x"), output.rfind("Current thread"), 0) :]
    for match in _FRAME.finditer(dump):
        if _is_in(match["path"], [path]):
            return int(match["line"])
    return None


def _is_in(path: str, roots: Sequence[Path]) -> bool:
    return any(Path(path).is_relative_to(root) for root in roots)


def _exception(text: str) -> str:
    """Return what follows the last frame and its source lines."""
    last = [match.end() for match in _FRAME.finditer(text)][-1]
    lines = text[last:].splitlines()
    while lines and (not lines[0].strip() or lines[0].startswith(" ")):
        lines.pop(0)
    return "\n".join(lines).strip()


def _shortened(text: str) -> str:
    if len(text) <= _MOST_CHARS:
        return text
    return f"{text[:_MOST_CHARS]}... ({len(text) - _MOST_CHARS} more characters)"


def _hint(lines: Sequence[str]) -> str | None:
    text = "\n".join(lines)
    is_import = "No module named" in text or "cannot import name" in text
    if is_import and _SQL_OPERATOR.search(text):
        return (
            "Providers have no such operator any more. Use SQLExecuteQueryOperator: "
            "from airflow.providers.common.sql.operators.sql import "
            "SQLExecuteQueryOperator (conn_id=... instead of the operator's own name)."
        )
    if (missing := _NO_MODULE.search(text)) and not _is_installed(missing[1]):
        wanted = _PROVIDER_IMPORT.search(lines[1]) if len(lines) > 1 else None
        name = wanted[1] if wanted else missing[1].removeprefix("airflow.providers.")
        return f"Install the provider: pip install {_package(name)}"
    return _respelled(text)


def _respelled(text: str) -> str | None:
    """Say what to write instead of what Airflow 2 had, and what to install for it."""
    hint = airflow2_names.hint(text)
    wanted = {
        _package(name)
        for name in _PROVIDER_IMPORT.findall(hint or "")
        if not _is_installed(f"airflow.providers.{name}")
    }
    if hint and wanted:
        hint += f" Install the provider: pip install {' '.join(sorted(wanted))}"
    return hint


def _provider(name: str) -> str:
    """Return the part of a dotted name that names the provider."""
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] in _TWO_PART else 1])


def _package(name: str) -> str:
    return "apache-airflow-providers-" + _provider(name).replace(".", "-").replace(
        "_", "-"
    )


def _is_installed(module: str) -> bool:
    provider = _provider(module.removeprefix("airflow.providers."))
    try:
        found = importlib.util.find_spec(f"airflow.providers.{provider}")
    except ImportError:
        return False
    return found is not None and found.origin is not None
