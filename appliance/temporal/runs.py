"""What a worker asks of the runs whose tries it holds, coalesced: one query a run is under way at a time.

The server buffers a single query a run; many at once wait for one another.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

from temporalio.client import Client

from appliance.config.model import Secrets
from appliance.dagrun.tries import XComRow
from appliance.taskrun.runview import InstanceRow
from appliance.temporal import messages
from appliance.temporal.messages import RunSecretsAndConf, TaskRow, XComQuestion
from appliance.temporal.sealing import Keyring

_KEEP_RUNS = 256


class Run:
    """One run, as the tries of this worker see it."""

    def __init__(self, client: Client, workflow: str, keys: Keyring) -> None:
        """Nothing is asked yet."""
        self._handle = client.get_workflow_handle(workflow)
        self._workflow = workflow
        self._keys = keys
        self._facts: asyncio.Task[RunSecretsAndConf] | None = None
        self._waiting: list[tuple[XComQuestion, asyncio.Future[list[XComRow]]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def xcoms(self, task_ids: Sequence[str], *, key: str | None) -> list[XComRow]:
        """Return the XComs of these tasks (all map indexes); ``key`` None: every key."""
        answer: asyncio.Future[list[XComRow]] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiting.append((XComQuestion(tuple(task_ids), key), answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def instances(self, task_ids: Sequence[str] | None) -> list[InstanceRow]:
        """Return the instances of these tasks; of every task when None."""
        rows: list[TaskRow] = await self._handle.query(
            messages.STATES_QUERY, result_type=list[TaskRow]
        )
        return [
            InstanceRow(row.task_id, row.map_index, row.state, _seconds(row))
            for row in rows
            if task_ids is None or row.task_id in task_ids
        ]

    async def conf(self) -> dict[str, object]:
        """Return the conf the run was started with."""
        return (await self._given()).conf

    async def secrets(self) -> Secrets | None:
        """Return the connections and variables the run was given for itself alone."""
        sealed = (await self._given()).sealed
        return self._keys.open(sealed, self._workflow) if sealed else None

    async def _given(self) -> RunSecretsAndConf:
        if self._facts is None or (self._facts.done() and self._facts.exception()):
            self._facts = asyncio.create_task(self._query_facts())
        return await asyncio.shield(self._facts)

    async def _query_facts(self) -> RunSecretsAndConf:
        facts: RunSecretsAndConf = await self._handle.query(
            messages.FACTS_QUERY, result_type=RunSecretsAndConf
        )
        return facts

    async def _ask(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                answers: list[list[XComRow]] = await self._handle.query(
                    messages.XCOMS_QUERY,
                    [question for question, _ in batch],
                    result_type=list[list[XComRow]],
                )
            except Exception as err:  # noqa: BLE001  # whoever asked gets it
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(err)
                continue
            for (_, answer), rows in zip(batch, answers, strict=True):
                if not answer.done():
                    answer.set_result(rows)


class Runs:
    """The runs this worker has lately run tries of."""

    def __init__(self, client: Client, keys: Keyring) -> None:
        """``keys`` open what submissions sealed."""
        self._client = client
        self._keys = keys
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def of(self, workflow: str) -> Run:
        """Return the run that is this workflow."""
        run = self._runs.get(workflow)
        if run is None:
            run = self._runs[workflow] = Run(self._client, workflow, self._keys)
            if len(self._runs) > _KEEP_RUNS:
                self._runs.popitem(last=False)
        self._runs.move_to_end(workflow)
        return run


def _seconds(row: TaskRow) -> float | None:
    if row.start_date is None or row.end_date is None:
        return None
    start = datetime.fromisoformat(row.start_date)
    return (datetime.fromisoformat(row.end_date) - start).total_seconds()
