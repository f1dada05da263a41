"""Why a DAG is not run, in the words people see."""

import difflib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from appliance.dagfile.facts import FileError, OpenFile, Refusal
from appliance.dagrun.names import shown
from appliance.errors import DagError

_MOST_ERRORS = 5


def features(file: str, dag_id: str, refusals: Iterable[Refusal]) -> DagError:
    """Name every feature a DAG uses that the appliance does not run, and where."""
    users: dict[tuple[str, str], list[str]] = {}
    for refusal in refusals:
        tasks = users.setdefault((refusal.feature, refusal.hint), [])
        if refusal.task_id is not None:
            tasks.append(f'"{refusal.task_id}"')
    return DagError(
        "\n".join(
            f'{file}: DAG "{dag_id}"{_uses(tasks)} {feature}, '
            f"which the appliance does not run yet. {hint}"
            for (feature, hint), tasks in users.items()
        )
    )


def unknown(
    dag_id: str, ids: Sequence[str], errors: Sequence[FileError], root: Path
) -> DagError:
    """Say that no file has this DAG, which ids are like it, and which files are broken."""
    lines = [f'no DAG "{dag_id}" in {root}']
    near = difflib.get_close_matches(dag_id, ids, cutoff=0.5)
    if near:
        names = ", ".join(f'"{name}"' for name in near)
        lines[0] += f"; did you mean {names}?"
    elif not ids:
        lines[0] += ": there is no DAG at all"
    if errors:
        count = f"{len(errors)} file{'s' if len(errors) > 1 else ''}"
        lines.append(f"It may be in one of the {count} that cannot be read:")
        lines += [str(error) for error in errors[:_MOST_ERRORS]]
    if len(errors) > _MOST_ERRORS:
        lines.append("... (all of them: appliance dags errors)")
    return DagError("\n".join(lines))


def not_in_file(dag_id: str, opened: OpenFile) -> DagError:
    """Say that a file lacks this DAG: what is wrong with it, or what it has."""
    if opened.errors:
        return DagError("\n".join(map(str, opened.errors)))
    has = ", ".join(f'"{name}"' for name in opened.dags) or "no DAG"
    return DagError(f'{opened.file}: no DAG "{dag_id}" in this file, which has {has}')


def ambiguous(dag_id: str, files: Sequence[str]) -> DagError:
    """Name all files that have this DAG."""
    return DagError(
        f'DAG id "{dag_id}" is in {len(files)} files: {", ".join(files)}. '
        "Rename one, or say which by --dag-file."
    )


def duplicate(dag_id: str, file: str, first: str) -> FileError:
    """Say of a file that another one has the same DAG."""
    return FileError(file, None, f'DAG id "{dag_id}" is also in {first}; rename one')


def relative(dag_file: str, root: Path) -> str:
    """Return a file as the DAG folder calls it.

    Args:
        dag_file: Absolute, or relative to the DAG folder or to the folder it is in.
        root: The DAG folder, absolute.

    Raises:
        DagError: It is not in the DAG folder.
    """
    for base in (root, root.parent):
        with suppress(OSError, ValueError):  # No path of a file can be so.
            path = Path(base, dag_file).resolve()
            if path.is_file() and path.is_relative_to(root.resolve()):
                return path.relative_to(root.resolve()).as_posix()
    raise DagError(f"{shown(dag_file)}: there is no such file in the DAG folder {root}")


def _uses(tasks: Sequence[str]) -> str:
    match len(tasks):
        case 0:
            return " uses"
        case 1:
            return f", task {tasks[0]} uses"
        case _:
            return f", tasks {', '.join(tasks)} use"
