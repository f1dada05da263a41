"""The activity ``run_trigger``: one deferred wait, which any worker may take up again.

A trigger is made to be run again from its arguments, so a wait whose worker or process dies is retried by Temporal
without an event in the run's history. Two that wait for the same can only end it once: the later report is refused.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from appliance.dagfile.models import OpenFile
from appliance.dagrun.attempt import ActivityTaskInput
from appliance.dagrun.deferral import MASKS, TriggerResult
from appliance.errors import ConfigError, DagError
from appliance.forkserver import child_call
from appliance.runs import activity_inputs, resumption
from appliance.runs.attempt_journal import AttemptJournal
from appliance.runs.messages import TRIGGER_ACTIVITY, TRIGGER_LOST
from appliance.runs.worker_client import WorkerRuns
from appliance.taskrun.startup import dag_run
from appliance.triggers.triggerer import Triggerer
from appliance.triggers.wait import Fired, Workload

_START = "appliance.triggers.runner:start"
_HEARTBEAT_S = 5.0
_HEARTBEATS_A_SECOND = 20
"""By all waits together; more of them are heard of, and hear of their end, less often."""
_LONGEST_HEARTBEAT_S = 60.0
_CLOCKS_DIFFER_S = 1.0

OpenDagFile = Callable[[str], Awaitable[OpenFile]]


class TriggerActivities:
    """``run_trigger``."""

    def __init__(
        self,
        client: Client,
        triggerer: Triggerer,
        journal: AttemptJournal,
        *,
        runs: WorkerRuns,
        open_file: OpenDagFile,
        start_s: float,
    ) -> None:
        """``journal``: the waits in hand; ``open_file``: as ``DagFolder.open``; ``start_s``: how long a file may take."""
        self._client = client
        self._triggerer = triggerer
        self._journal = journal
        self._runs = runs
        self._open_file = open_file
        self._start_s = start_s

    @activity.defn(name=TRIGGER_ACTIVITY)
    async def run_trigger(self, task: ActivityTaskInput) -> TriggerResult:
        """Wait for a trigger.

        Raises:
            ApplicationError: type ``AirflowTriggerLost``: the worker ends; to be tried again.
                Type ``InputRefused``: no run can ask for it.
        """
        activity_inputs.require(task)
        token = activity.info().task_token
        self._journal.take(token)
        try:
            try:
                fired, start = await self._open(task)
            except (DagError, ConfigError) as err:
                return TriggerResult(failed=True, traceback=[str(err)])
            await self._hold(task, fired)
        except asyncio.CancelledError:
            await self._let_go(task)
            raise
        finally:
            self._journal.end(token)
        self._triggerer.close_wait(task.ti_id)
        ended = fired.result()
        result = replace(ended.result, **start)
        if ended.confirm is not None:
            # Its source forgets it after this: it must be in the history first.
            handle = self._client.get_async_activity_handle(task_token=token)
            await handle.complete(asdict(result))
            self._triggerer.confirm(ended.confirm)
            activity.raise_complete_async()
        return result

    async def _open(
        self, task: ActivityTaskInput
    ) -> tuple[asyncio.Future[Fired], dict[str, Any]]:
        """Begin the wait unless it is here; return, too, how a task goes on that never ran."""
        trigger = task.trigger
        assert trigger is not None  # noqa: S101  # of a wait, it is set
        run = self._runs.of(task.run)
        start: dict[str, Any] = {}
        if trigger.classpath is None:
            workload, start = await self._start(task, run.conf)
        else:
            sealed = resumption.waited_for(task, run)
            workload = Workload(
                trigger.classpath, sealed["trigger_kwargs"], masks=sealed.get(MASKS, ())
            )
        fired = self._triggerer.find(task.ti_id)
        return fired or self._triggerer.open(task, workload), start

    async def _start(
        self, task: ActivityTaskInput, conf: Callable[[], Awaitable[dict[str, Any]]]
    ) -> tuple[Workload, dict[str, Any]]:
        """Look up what a task starts from; its file may read only in a child."""
        opened = await self._open_file(task.run.file)
        given = {
            "root": opened.path.removesuffix(opened.file),
            "file": task.run.file,
            "dag_id": task.run.dag_id,
            "task_id": task.task_id,
        }
        try:
            found = await child_call.send(
                opened.zygote, _START, given, limit_s=self._start_s
            )
        except ChildProcessError as err:
            raise DagError(
                f"{task.run.file}: what {task.task_id} starts from cannot be read: {err}"
            ) from err
        if (known := task.run.conf) is None:
            known = await conf()
        workload = Workload(
            found["classpath"],
            found["trigger_kwargs"],
            dag_data=found["dag_data"],
            dag_run=dag_run(task, known),
        )
        sealed = resumption.seal(
            task,
            self._runs.of(task.run),
            {"next_kwargs": found["next_kwargs"]},
            next_method=found["next_method"],
            classpath=None,
        )
        return workload, {"next_method": found["next_method"], "sealed": sealed}

    async def _hold(
        self, task: ActivityTaskInput, fired: asyncio.Future[Fired]
    ) -> None:
        """Wait for the trigger; past its time it is ended, and the server is about to say so."""
        while True:
            many_s = len(self._triggerer) / _HEARTBEATS_A_SECOND
            pause_s = min(max(_HEARTBEAT_S, many_s), _LONGEST_HEARTBEAT_S)
            done, _ = await asyncio.wait((fired,), timeout=pause_s)
            if done:
                return
            if _is_late(task, by_s=_CLOCKS_DIFFER_S):
                self._triggerer.close_wait(task.ti_id)
            activity.heartbeat()

    async def _let_go(self, task: ActivityTaskInput) -> None:
        """The wait was taken from us: it is not wanted any more, the worker ends, or the server slept.

        Raises:
            ApplicationError: the worker ends; the next one begins the wait again.
        """
        why = activity.cancellation_details()
        if why is not None and why.worker_shutdown:
            raise lost("its worker was stopped")
        # About its deadline it was taken from us for that, whatever our clock says.
        is_over = _is_late(task, by_s=-_CLOCKS_DIFFER_S)
        is_lapsed = why is not None and not (why.cancel_requested or is_over)
        if is_lapsed and await self._is_wanted():
            self._triggerer.abandon(task.ti_id)
        else:
            self._triggerer.close_wait(task.ti_id)

    async def _is_wanted(self) -> bool:
        info = activity.info()
        run_id = info.workflow_run_id or ""
        return await self._runs.goes_on(info.workflow_id or "", run_id)


def _is_late(task: ActivityTaskInput, *, by_s: float) -> bool:
    deadline = task.trigger.deadline if task.trigger else None
    return deadline is not None and time.time() > deadline + by_s


def lost(why: str) -> ApplicationError:
    """Return the error of a wait whose worker ended."""
    return ApplicationError(f"the wait goes on: {why}", type=TRIGGER_LOST)
