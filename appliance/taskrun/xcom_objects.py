"""XCom values kept outside the run's history by Airflow's own backend: store, resolve, purge.

The backend is user-configurable code, so it runs in a child like everything else of a DAG.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from appliance.dagrun.attempt import RunFacts, XComRow
from appliance.forkserver import child_call
from appliance.forkserver.control import Zygote

_CHILD = "appliance.taskrun.child"
_MOST_S = 300.0
"""How long a store may take for the XComs of one question; Airflow's own clients give up earlier."""
_LONGEST_PURGE_S = 3600.0
"""For all runs that are forgotten in one go, thousands maybe."""


async def store(zygote: Zygote, run: RunFacts, row: XComRow) -> Any:
    """Put a value away; return what to keep instead, from which the backend finds it.

    ``zygote`` is the DAG's own: the value may be of a class of the DAG folder.
    """
    where = {
        "key": row.key,
        "task_id": row.task_id,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "map_index": row.map_index,
    }
    given = {"value": row.value, "where": where}
    return await child_call.send(zygote, f"{_CHILD}:store_xcom", given, limit_s=_MOST_S)


async def resolve(zygote: Zygote, rows: Sequence[XComRow]) -> list[XComRow]:
    """Return the rows with every reference replaced by the JSON it stands for."""
    stored = [row.value for row in rows]
    entry = f"{_CHILD}:resolve_xcoms"
    values = await child_call.send(zygote, entry, stored, limit_s=_MOST_S)
    return [replace(row, value=value) for row, value in zip(rows, values, strict=True)]


async def purge(zygote: Zygote, runs: Sequence[tuple[str, str]]) -> None:
    """Delete what the backend has put away for these runs, by ids of DAG and run."""
    entry = f"{_CHILD}:purge_xcoms"
    await child_call.send(zygote, entry, list(runs), limit_s=_LONGEST_PURGE_S)
