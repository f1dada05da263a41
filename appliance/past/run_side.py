"""What a run does about earlier runs: waits for those that its tasks depend on.

Imported by the workflow: deterministic, no clock but ``workflow.now()``.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from appliance.dagrun.attempt import RunFacts
from appliance.dagrun.events import Event, PastMet
from appliance.dagrun.plan import Plan, TaskSpec
from appliance.past.messages import AWAIT_PAST, PastQuestion
from appliance.past.model import PastTask
from appliance.temporal import messages
from appliance.temporal.messages import DagAnswer, DagExecutionInput

_TIMEOUT = timedelta(seconds=60)
_LOOK_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=1.5,
    maximum_interval=timedelta(seconds=10),
)


class Past:
    """What the tasks of one run depend on in earlier runs."""

    def __init__(self, plan: Plan, dag: DagAnswer, request: DagExecutionInput) -> None:
        """Look at nothing yet."""
        self._is_ignored = request.ignores_past
        self._no_manual = bool(dag.plan.get("catchup"))
        rows = dag.plan["tasks"]
        self._tasks = [
            _past_task(
                task, rows[task.task_id].get("start") if self._no_manual else None
            )
            for task in plan.tasks.values()
            if task.depends_on_past
        ]
        self._watch: asyncio.Task[None] | None = None

    def watch(self, facts: RunFacts, report: Callable[[Event], None]) -> None:
        """Report each task's past as it comes. A run that depends on none, or has none, does nothing."""
        if not self._tasks:
            return
        if self._is_ignored or facts.logical_date is None:
            report(PastMet(tuple(task.task_id for task in self._tasks)))
            return
        self._watch = asyncio.create_task(
            self._report(facts.dag_id, messages.utc(facts.logical_date), report)
        )

    def stop(self) -> None:
        """Wait no longer: the run has ended."""
        if self._watch is not None:
            self._watch.cancel()

    async def _report(
        self, dag_id: str, date: str, report: Callable[[Event], None]
    ) -> None:
        waiting = self._tasks
        while waiting:
            met: list[str] = await workflow.execute_activity(
                AWAIT_PAST,
                PastQuestion(dag_id, date, self._no_manual, waiting),
                result_type=list[str],
                start_to_close_timeout=_TIMEOUT,
                retry_policy=_LOOK_AGAIN,
                summary="what earlier runs owe this one",
            )
            report(PastMet(tuple(met)))
            waiting = [task for task in waiting if task.task_id not in met]


def _past_task(task: TaskSpec, start_s: float | None) -> PastTask:
    start = None if start_s is None else datetime.fromtimestamp(start_s, UTC)
    return PastTask(
        task.task_id,
        task.down if task.wait_for_downstream else (),
        task.ignore_first_depends_on_past,
        start.isoformat() if start else None,
    )
