"""Activities of a run: run a try, read and check a DAG, resolve XCom references.

Every activity answers with a value where a person is to read a refusal; what it raises is either how a try ended or a
bug.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from appliance.config.free_disk import shortage
from appliance.config.model import Config
from appliance.dagfile.models import CheckedDag, Listing
from appliance.dagrun import ids
from appliance.dagrun.attempt import ActivityTaskInput, TaskExecutionResult, XComRow
from appliance.dagrun.states import TaskState
from appliance.errors import DagError
from appliance.pools.contention import WorkerCapacity
from appliance.pools.exemption import Exemption
from appliance.runs import activity_inputs, outcomes
from appliance.runs.attempt_journal import AttemptJournal
from appliance.runs.dag_reading import digest_of
from appliance.runs.messages import (
    ACTIVITY,
    FIND_HOLDERS,
    FIRST_POKE,
    REATTACH_ACTIVITY,
    TRY_NOT_BEGUN,
    TRY_RESCHEDULED,
    DagQuestion,
    ResolveAnswer,
    ResolveQuestion,
    TryLocation,
)
from appliance.runs.running_attempts import RunningAttempts
from appliance.runs.worker_client import WorkerRuns
from appliance.taskrun.attempt import LOST
from appliance.temporal import limits, messages
from appliance.temporal.messages import DagAnswer
from appliance.worker_questions.messages import LIST_DAGS, READ_DAG, RESOLVE_XCOMS

_LOG = logging.getLogger(__name__)
LAST_WORDS_S = 1.0
"""What a task gets between SIGTERM and its end when its worker is stopped: the last of ``worker.grace``."""
_FIRST_HEARTBEAT_S = 1.0
_HEARTBEAT_S = 3.0
_SHORTEST_PAUSE_S = 0.01
_FAILED = (TaskState.FAILED, TaskState.UP_FOR_RETRY)


class TryActivities:
    """``run_airflow_task`` and its return after a lost lease."""

    def __init__(
        self,
        leases: RunningAttempts,
        journal: AttemptJournal,
        exemption: Exemption,
        *,
        queue: str,
        runs: WorkerRuns,
    ) -> None:
        """``queue``: this worker's own task queue, named in every heartbeat."""
        self._exemption = exemption
        self._leases = leases
        self._journal = journal
        self._queue = queue
        self._runs = runs
        self._taken: dict[tuple[str, str], str] = {}
        """Tries that were taken, by workflow run and activity id."""
        self._holding_back: dict[str, asyncio.Task[None]] = {}
        self._watching: set[asyncio.Task[None]] = set()

    @activity.defn(name=ACTIVITY)
    async def run_airflow_task(self, task: ActivityTaskInput) -> TaskExecutionResult:
        """Run one try to its end.

        Raises:
            ApplicationError: type ``AirflowTaskFailed`` with the result as details, ``AirflowTaskLost``, or ``InputRefused``.
        """
        activity_inputs.require(task)
        if task.poke_at is not None:
            return await self._poke(task, _seconds_until(task.poke_at))
        return await self._run(task)

    async def _poke(
        self, task: ActivityTaskInput, left_s: float
    ) -> TaskExecutionResult:
        """Poke a sensor when its time has come; while it asks for more pokes, each is another attempt.

        Raises:
            ApplicationError: as above, or type ``AirflowTaskRescheduled``.
        """
        before = activity.info().attempt - FIRST_POKE
        if before < 0 or left_s > 0:
            raise _again(left_s)
        # A lost attempt counts as a poke: it may have been one.
        poked = replace(task, reschedules=task.reschedules + before)
        try:
            result = await self._run(poked)
        except (ApplicationError, asyncio.CancelledError):
            raise
        except Exception as err:
            # What nobody foresaw would be tried for ever.
            raise ApplicationError(str(err), non_retryable=True) from err
        if outcomes.is_plain_poke(result) and result.reschedule_at is not None:
            raise _again(_seconds_until(result.reschedule_at))
        return result

    async def _run(self, task: ActivityTaskInput) -> TaskExecutionResult:
        if not task.is_exempt:
            return await self._see_through(task)
        workflow = activity.info().workflow_id or ""
        if not await self._exemption.holds(workflow):
            raise lost("it has to ask for a slot of its pool first", has_begun=False)
        with self._exemption.running(workflow):
            return await self._see_through(task)

    async def _see_through(self, task: ActivityTaskInput) -> TaskExecutionResult:
        token = activity.info().task_token
        running = self._leases.open(task, lambda: self._journal.begin(token))
        return await self._report(task, running)

    @activity.defn(name=REATTACH_ACTIVITY)
    async def reattach_airflow_task(
        self, task: ActivityTaskInput
    ) -> TaskExecutionResult:
        """Report a try whose lease ran out while it went on.

        Raises:
            ApplicationError: as above; ``AirflowTaskLost`` when it is not here.
        """
        activity_inputs.require(task)
        running = self._leases.reopen(task.ti_id)
        if running is None:
            raise lost("the worker that ran it has been restarted")
        return await self._report(task, running)

    @activity.defn(name=FIND_HOLDERS)
    async def find_holders(self) -> dict[str, TryLocation]:
        """Return where the tries of the run are, by their id."""
        info = activity.info()
        return await self._runs.holders(
            info.workflow_id or "", info.workflow_run_id or ""
        )

    async def _report(
        self, task: ActivityTaskInput, running: asyncio.Task[TaskExecutionResult]
    ) -> TaskExecutionResult:
        info = activity.info()
        token, place = info.task_token, (info.workflow_run_id or "", info.activity_id)
        self._journal.take(token)
        if self._leases.has_begun(task.ti_id):
            self._journal.begin(token)
        self._taken[place] = task.ti_id
        try:
            await self._hold(running)
            with suppress(asyncio.CancelledError):  # It has ended; its end counts.
                await self._leases.together()
        except asyncio.CancelledError:
            await self._let_go(task, running)
            raise
        finally:
            del self._taken[place]
            self._journal.end(token)
        self._leases.close(task.ti_id)
        result = _result(running)
        if result.state in _FAILED:
            raise ApplicationError(
                result.error or f"the try ended {result.state}",
                replace(result, error=_first_line(result.error)),
                type=messages.TRY_FAILED,
                non_retryable=True,
            )
        return result

    async def _hold(self, running: asyncio.Task[TaskExecutionResult]) -> None:
        """Wait for the try, keeping the lease alive."""
        pause = _FIRST_HEARTBEAT_S
        while True:
            done, _ = await asyncio.wait((running,), timeout=pause)
            if done:
                return
            activity.heartbeat(self._queue)
            pause = _HEARTBEAT_S

    async def _let_go(
        self, task: ActivityTaskInput, running: asyncio.Task[TaskExecutionResult]
    ) -> None:
        """The lease was taken from us: by a person, by our own end, or by a server that slept.

        Raises:
            ApplicationError: type ``AirflowTaskStopped`` when it had begun and its run wants no more of it;
                ``AirflowTaskLost`` or ``AirflowTaskNotBegun`` when this worker is being stopped.
        """
        why = activity.cancellation_details()
        is_lapsed = (
            why and (why.timed_out or why.not_found) and not why.cancel_requested
        )
        if is_lapsed and await self._is_wanted():
            self._leases.abandon(task.ti_id)
            watch = self._watch(task.ti_id, activity.info().workflow_id or "")
            watching = asyncio.create_task(watch)
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)
            return
        has_begun = self._leases.has_begun(task.ti_id)
        if has_begun and why and why.cancel_requested:
            await self._hold_back_others()
        # Closed first: whoever opens it from now on gets a new try, not this one's end.
        if self._leases.close(task.ti_id):
            # A worker that is being stopped has no time left: its zygote ends the child.
            is_stopping = why is not None and why.worker_shutdown
            running.cancel(LOST if is_stopping else None)
            limit = LAST_WORDS_S if is_stopping else None
            await asyncio.wait((running,), timeout=limit)
        if why and why.worker_shutdown:
            raise lost("its worker was stopped", has_begun=has_begun)
        if has_begun:
            raise ApplicationError(
                "the task was stopped: its run was cancelled, ran out of time or failed fast",
                type=messages.TRY_STOPPED,
                non_retryable=True,
            )

    async def _watch(self, ti_id: str, workflow: str) -> None:
        """Stop an abandoned try whose run has ended before it could ask again: it was cancelled just then."""
        while self._leases.is_unclaimed(ti_id):
            if await self._runs.has_ended(workflow):
                self._leases.expire(ti_id)
            await asyncio.sleep(_HEARTBEAT_S)

    async def _hold_back_others(self) -> None:
        """Keep the slots of stopped tries from others that are stopped as well and have not heard of it yet.

        Each hears of it with its own heartbeat, up to three seconds apart.
        """
        info = activity.info()
        run = info.workflow_run_id or ""
        asking = self._holding_back.get(run)
        if asking is None:
            asking = asyncio.create_task(self._hold_back(info.workflow_id or "", run))
            self._holding_back[run] = asking
            asking.add_done_callback(lambda _: self._holding_back.pop(run, None))
        await asyncio.wait((asking,))

    async def _hold_back(self, workflow: str, run: str) -> None:
        for activity_id in await self._runs.stopped(workflow, run):
            if ti_id := self._taken.get((run, activity_id)):
                self._leases.hold_back(ti_id)

    async def _is_wanted(self) -> bool:
        info = activity.info()
        workflow, run = info.workflow_id or "", info.workflow_run_id or ""
        return await self._runs.goes_on(workflow, run)


class DagReader(Protocol):
    """The DAG folder, as ``Workshop`` has it."""

    async def check(self, **question: Any) -> CheckedDag:
        """As ``DagFolder.check``."""

    async def listing(self) -> Listing:
        """As ``DagFolder.listing``."""


class DagActivities:
    """Answers about the DAG folder."""

    def __init__(
        self,
        config: Config,
        dags: DagReader,
        capacity: WorkerCapacity,
        *,
        voucher: Callable[[str], str],
        has_search_attributes: bool,
    ) -> None:
        """``voucher`` vouches for a digest; ``has_search_attributes``: whether the namespace knows ours."""
        self._voucher = voucher
        self._capacity = capacity
        self._config = config
        self._dags = dags
        self._has_search_attributes = has_search_attributes

    def reconfigure(self, config: Config) -> None:
        """Start runs by this configuration from now on."""
        self._config = config

    @activity.defn(name=READ_DAG)
    async def read_dag(self, question: DagQuestion) -> DagAnswer:
        """Read a DAG and check that it can be run so; what speaks against it is the answer's ``refusal``."""
        is_found_by_file = not question.dag_id and question.dag_file
        wrong = ids.objection(question.dag_id)
        if wrong and not is_found_by_file:
            why = f"{ids.shown(question.dag_id)!r} is no id of a DAG: {wrong}"
            return DagAnswer(refusal=why)
        if no_room := shortage(self._config):
            return DagAnswer(refusal=no_room, dag_id=question.dag_id)
        try:
            found = await self._dags.check(**asdict(question))
            pools = await self._capacity.pools(found.file, found.plan)
        except DagError as err:
            return DagAnswer(refusal=str(err), dag_id=question.dag_id)
        worker = self._config.worker
        answer = DagAnswer(
            dag_id=found.dag_id,
            file=found.file,
            file_hash=found.file_hash,
            plan=found.plan,
            data_interval_start=found.data_interval_start,
            data_interval_end=found.data_interval_end,
            retry_lost=worker.on_lost == "retry",
            max_lost=worker.max_lost,
            pools=pools,
            has_search_attributes=self._has_search_attributes,
        )
        digest = digest_of(found.dag_id, question.run_id, answer)
        return replace(answer, voucher=self._voucher(digest))

    @activity.defn(name=LIST_DAGS)
    async def list_dags(self, _question: None) -> dict[str, Any]:
        """Return every DAG of the folder, and every file that cannot be read."""
        listing = await self._dags.listing()
        dags = tuple(replace(dag, timing=None) for dag in listing.dags)  # much and many
        return asdict(replace(listing, dags=dags))


class Resolver(Protocol):
    """Turns XCom references into the values they stand for."""

    async def __call__(self, rows: Sequence[XComRow]) -> list[XComRow]:
        """Return the rows with values as Airflow's serde writes them."""


class XComActivities:
    """Answers about XComs that live outside the history."""

    def __init__(self, resolve: Resolver) -> None:
        """``resolve`` asks Airflow's XCom backend."""
        self._resolve = resolve
        self._begun: tuple[list[XComRow], str] = ([], "")
        """What was answered in part: for the next slice it need not be fetched again."""

    @activity.defn(name=RESOLVE_XCOMS)
    async def resolve_xcoms(self, question: ResolveQuestion) -> ResolveAnswer:
        """Return a slice of the rows with every reference replaced by its value."""
        rows, text = self._begun
        if question.start == 0 or question.rows != rows:
            found = await self._resolve(question.rows)
            text = json.dumps([asdict(row) for row in found])
        end = question.start + limits.SLICE_CHARS
        self._begun = (question.rows, text) if end < len(text) else ([], "")
        return ResolveAnswer(text[question.start : end], len(text))


def _result(running: asyncio.Task[TaskExecutionResult]) -> TaskExecutionResult:
    try:
        return running.result()
    except Exception:
        _LOG.exception("a try ended in a way nobody foresaw")
        raise


def lost(why: str, *, has_begun: bool = True) -> ApplicationError:
    """Return the error of a try that vanished with its worker."""
    return ApplicationError(
        f"the try was lost: {why}",
        type=messages.TRY_LOST if has_begun else TRY_NOT_BEGUN,
        non_retryable=True,
    )


def _again(delay_s: float) -> ApplicationError:
    """Return the error that has the server start the activity again after a delay, without an event."""
    return ApplicationError(
        "the sensor is to be poked again",
        type=TRY_RESCHEDULED,
        next_retry_delay=timedelta(seconds=max(_SHORTEST_PAUSE_S, delay_s)),
    )


def _seconds_until(moment: str) -> float:
    now = datetime.now(UTC)  # noqa: TID251  # the edge that takes the time
    return (datetime.fromisoformat(moment) - now).total_seconds()


def _first_line(text: str | None) -> str | None:
    return text.splitlines()[0] if text else None
