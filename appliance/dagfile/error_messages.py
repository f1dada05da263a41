"""Texts of the errors that say why a DAG is not run."""

import difflib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from appliance.dagfile.models import FileError, ListedDag, OpenFile, Refusal
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
        return DagError(f"{lines[0]}; did you mean {names}?")
    if not ids:
        lines[0] += ": there is no DAG at all"
    if errors:
        count = f"{len(errors)} file{'s' if len(errors) > 1 else ''}"
        lines.append(f"It may be in one of the {count} that cannot be read:")
        lines += [str(error) for error in errors[:_MOST_ERRORS]]
    if len(errors) > _MOST_ERRORS:
        lines.append("... (all of them: appliance dags errors)")
    return DagError("\n".join(lines))


def not_in_file(dag_id: str, opened: OpenFile) -> DagError:
    """Return the error for a file without this DAG: its import errors, or the DAGs it has."""
    if opened.errors:
        return DagError("\n".join(map(str, opened.errors)))
    has = ", ".join(f'"{name}"' for name in opened.dags) or "no DAG"
    return DagError(f'{opened.file}: no DAG "{dag_id}" in this file, which has {has}')


def only_in(opened: OpenFile) -> str:
    """Return the id of the one DAG a file has.

    Raises:
        DagError: It has none or several, or is broken.
    """
    if len(opened.dags) == 1:
        return next(iter(opened.dags))
    if opened.errors or not opened.dags:
        raise DagError(
            "\n".join(map(str, opened.errors)) or f"{opened.file} has no DAG"
        )
    ways = "".join(f"\n  submit {dag_id}" for dag_id in opened.dags)
    raise DagError(f"{opened.file} has {len(opened.dags)} DAGs; say which:{ways}")


def ambiguous(dag_id: str, files: Sequence[str]) -> DagError:
    """Name all files that have this DAG, and how to run each."""
    lines = [
        f'DAG id "{dag_id}" is in {len(files)} files: {", ".join(files)}. '
        "Rename all but one, or say which:"
    ]
    lines += [f"  {_run(dag_id, file)}" for file in files]
    return DagError("\n".join(lines))


def _run(dag_id: str, file: str) -> str:
    return shlex.join(["submit", dag_id, "--dag-file", file])


def duplicate(dag: ListedDag, dags: Sequence[ListedDag]) -> FileError:
    """Say of a file that others have the same DAG."""
    others = ", ".join(one.file for one in dags if one is not dag)
    return FileError(
        dag.file,
        None,
        f'DAG id "{dag.dag_id}" is also in {others}; rename one, or run this one by: {_run(dag.dag_id, dag.file)}\n'
        f"    By a schedule runs that of {dags[0].file}.",
    )


def twins(dag_id: str, file: str, lines: Sequence[int]) -> FileError:
    """Say of a file that it has two DAGs of one id."""
    where = f", in lines {', '.join(map(str, lines))}" if len(lines) > 1 else ""
    return FileError(
        file,
        lines[-1] if lines else None,
        f'DAG id "{dag_id}" is twice in this file{where}. Airflow would run one of them, whichever; rename one, or put '
        "it into a file of its own and say which file by --dag-file",
    )


def _uses(tasks: Sequence[str]) -> str:
    match len(tasks):
        case 0:
            return " uses"
        case 1:
            return f", task {tasks[0]} uses"
        case _:
            return f", tasks {', '.join(tasks)} use"
