"""XCom values outside the run's history: put there, and followed back, by Airflow's own backend.

The backend is user-configurable code, so it runs in a child like everything else of a DAG.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from appliance.dagrun.tries import RunFacts, XComRow
from appliance.warm.control import Zygote

_CHILD = "appliance.taskrun.child"


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
    return await _errand(zygote, "store_xcom", given)


async def resolve(zygote: Zygote, rows: Sequence[XComRow]) -> list[XComRow]:
    """Return the rows with every reference replaced by the JSON it stands for."""
    values = await _errand(zygote, "resolve_xcoms", [row.value for row in rows])
    return [replace(row, value=value) for row, value in zip(rows, values, strict=True)]


async def purge(zygote: Zygote, runs: Sequence[tuple[str, str]]) -> None:
    """Delete what the backend has put away for these runs, by ids of DAG and run."""
    await _errand(zygote, "purge_xcoms", list(runs))


async def _errand(zygote: Zygote, function: str, given: Any) -> Any:
    """Run a function of ``taskrun.child`` in a child, its argument and result in a memfd."""
    with os.fdopen(os.memfd_create(function), "r+b") as paper:
        paper.write(json.dumps(given).encode())
        paper.seek(0)
        child = await zygote.fork(f"{_CHILD}:{function}", {}, [paper.fileno()])
        ended = await child.exited()
        if ended.code != 0:
            raise ChildProcessError(f"{function} ended with {ended.code}, see the log")
        paper.seek(0)
        return json.load(paper)
