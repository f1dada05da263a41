"""Calls listeners of plugins when a run begins and ends, and then the callbacks of its DAG.

Imported by the workflow: deterministic, no clock but ``workflow.now()``.
"""

import asyncio
from collections.abc import Sequence

from temporalio import workflow

from appliance.dagrun.attempt import ActivityTaskInput, Callback, RunFacts
from appliance.dagrun.machine import DagRun
from appliance.runs import callback_context
from appliance.runs.attempts import Attempts
from appliance.runs.messages import DagExecutionResult
from appliance.temporal.messages import TaskRow

_STARTED = "started"
_CANCELLED = "Dag Run's state was manually set to `failed`."
"""As Airflow says when a person does that."""


class Notifications:
    """Those of one run. Where there are none, nothing is done."""

    def __init__(self, facts: RunFacts, machine: DagRun, tries: Attempts) -> None:
        """``tries`` has a worker call them."""
        self._facts = facts
        self._machine = machine
        self._tries = tries

    def begun(self) -> None:
        """Have it told that the run is running, beside its first tasks."""
        if (call := self._listeners("running", _STARTED)) is not None:
            self._tries.call_back_soon(call)

    async def cancelled(self, end_date: str) -> None:
        """Tell that somebody has ended the run; its callbacks are not called then, as in Airflow."""
        # A task of its own: this one has been cancelled, and so would be what it calls.
        telling = self._listen("failed", _CANCELLED, end_date)
        await asyncio.create_task(telling)

    async def ended(
        self, reason: str, result: DagExecutionResult, rows: Sequence[TaskRow]
    ) -> None:
        """Tell how the run has ended.

        Args:
            reason: Why, in Airflow's word.
            result: How.
            rows: Every task instance.
        """
        await self._listen(result.state, reason, result.end_date)
        callback = Callback(
            is_failure=result.state == "failed", reason=reason, end_date=result.end_date
        )
        if getattr(self._machine.plan, f"has_{callback.name}"):
            about = callback_context.subject(
                rows, reason, upstreams_of=self._machine.direct_upstreams
            )
            await self._tries.call_back(self._call(callback, about))

    async def _listen(self, state: str, why: str, end_date: str) -> None:
        if (call := self._listeners(state, why, end_date)) is not None:
            await self._tries.call_back(call)

    def _listeners(
        self, state: str, why: str, end_date: str = ""
    ) -> ActivityTaskInput | None:
        callback = Callback(
            is_failure=state == "failed", reason=why, end_date=end_date, run_state=state
        )
        is_wanted = callback.name in self._machine.plan.listeners
        return self._call(callback, None) if is_wanted else None

    def _call(self, callback: Callback, about: TaskRow | None) -> ActivityTaskInput:
        return ActivityTaskInput(
            run=self._facts,
            task_id=about.task_id if about else "",
            map_index=about.map_index if about else -1,
            try_number=about.try_number if about else 0,
            max_tries=0,
            ti_id=str(workflow.uuid4()),
            callback=callback,
        )
