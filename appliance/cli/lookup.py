"""Looks DAGs and runs up by name, and suggests similar names for one that is not there."""

from collections.abc import Iterable
from difflib import get_close_matches

from appliance.cli.context import Server
from appliance.errors import DagError, TemporalUnreachable

_LIKENESS = 0.5


def near(name: str, names: Iterable[str]) -> str:
    """Propose the names most like this one: `` Did you mean 'a' or 'b'?``; nothing when none is."""
    found = get_close_matches(name, sorted(set(names)), cutoff=_LIKENESS)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""


def no_dag(dag_id: str, ids: Iterable[str]) -> DagError:
    """Say that there is no such DAG, and which is like it."""
    hint = near(dag_id, ids) or " See: appliance dags list"
    return DagError(f"There is no DAG {dag_id!r}.{hint}")


async def require_dag(server: Server, dag_id: str) -> None:
    """Check that a DAG without known runs exists; without a worker the check is left out.

    Raises:
        DagError: there is none.
    """
    try:
        listing = await server.dags()
    except TemporalUnreachable:
        return
    ids = [row.dag_id for row in listing.dags]
    if dag_id not in ids:
        raise no_dag(dag_id, ids)


async def find(server: Server, dag_id: str, run_id: str) -> str:
    """Return the workflow id of a run.

    Raises:
        DagError: there is no such run, or no such DAG; says what is like it.
    """
    try:
        return await server.find(dag_id, run_id)
    except DagError:
        ids = [row.run_id for row in await server.runs(dag_id)]
        if not ids:
            await require_dag(server, dag_id)
        if hint := near(run_id, ids):
            raise DagError(f"{dag_id} has no run {run_id!r}.{hint}") from None
        raise
