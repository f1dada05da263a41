"""The workflows. ``ExecuteAirflowDagWorkflow`` is one DAG run.

Decisions of the machine become activities and timers, their ends become events. No rules of its own, no clock but
``workflow.now()``.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from appliance.dagrun.events import (
        AskSlots,
        CancelRequested,
        Decision,
        Event,
        FinishRun,
        ReturnSlots,
        StartTask,
        StartWait,
        StopTask,
        TimeReached,
        WaitUntil,
    )
    from appliance.dagrun.machine import DagRun
    from appliance.dagrun.plan import Plan
    from appliance.dagrun.states import RunState, TaskState
    from appliance.dagrun.tries import DagCallback, RunFacts, XComRow
    from appliance.temporal import (
        attributes,
        callbacks,
        details,
        limits,
        messages,
        questions,
    )
    from appliance.temporal.ledger import Ledger, shorten
    from appliance.temporal.messages import (
        AskInput,
        DagAnswer,
        DagExecutionInput,
        DagExecutionResult,
        DagQuestion,
        Response,
        RunSecretsAndConf,
        TaskRow,
        Wish,
        XComQuestion,
    )
    from appliance.temporal.past import Past
    from appliance.temporal.slots import Slots
    from appliance.temporal.tries import Tries
    from appliance.temporal.turn import Turn
    from appliance.temporal.waits import Waits

_ONCE = RetryPolicy(maximum_attempts=1)
_READ_AGAIN = RetryPolicy(maximum_attempts=5)
"""A refusal is an answer; what fails is the worker."""
_READ_TIMEOUT = timedelta(minutes=5)
_MAX_ROWS = 100
_REDRAW_ROWS = 200
_INLINE_CONF_BYTES = 1024
_MOST_RUNNING = 1000
"""Temporal takes 2,000 unfinished activities a workflow and 4 MB a workflow task; past either, the run is stuck."""


@workflow.defn(
    name=messages.WORKFLOW,
    # Input that somebody made by hand ends the run; otherwise it would be tried for ever.
    failure_exception_types=(TypeError, ValueError, KeyError),
)
class ExecuteAirflowDagWorkflow:
    """One run of one DAG."""

    @workflow.init
    def __init__(self, request: DagExecutionInput) -> None:
        """Remember what was asked; nothing is decided yet."""
        self._request = request
        self._ledger = Ledger()
        self._inbox: list[Event] = []
        self._machine: DagRun | None = None
        self._waits: Waits | None = None
        self._finish: FinishRun | None = None
        self._timers: set[asyncio.Task[None]] = set()
        self._turn = Turn(request)
        self._started = workflow.now()
        self._logical_date: str | None = None
        if request.partition_key is None:
            self._logical_date = self._started.isoformat()
        self._undrawn = self._rows_drawn = 0
        self._asked = ""

    @workflow.run
    async def run(self, request: DagExecutionInput) -> DagExecutionResult:
        """Run the DAG to its end.

        Raises:
            ApplicationError: type ``DagRefused``: it cannot be run; ``DagExecutionFailure``: it ran and failed.
        """
        if request.logical_date is not None:
            self._logical_date = messages.utc(request.logical_date)
        dag = request.dag or await self._read_dag()
        if dag.refusal is not None:
            raise ApplicationError(
                dag.refusal, type=messages.RUN_REFUSED, non_retryable=True
            )
        self._facts = self._describe(dag)
        self._publish(dag)
        await self._await_turn(dag)
        plan = Plan.from_json(dag.plan)
        self._slots = slots = Slots(plan, dag)
        most = min(plan.max_active_tasks, _MOST_RUNNING)
        self._machine = machine = DagRun(
            replace(plan, max_active_tasks=most, lent=slots.groups),
            logical_date=self._logical_date,
            is_backfill=request.run_type == "backfill",
            retry_lost=dag.retry_lost,
            max_lost=dag.max_lost,
        )
        self._tries = tries = Tries(
            self._facts, machine, self._ledger, self._inbox.append
        )
        self._waits = tries.waits
        past = Past(plan, dag, request)
        self._obey(machine.start(_now()))
        past.watch(self._facts, self._inbox.append)
        try:
            await self._until_finished(machine)
            past.stop()
            await tries.stop()
            await slots.end(self._facts)
        except asyncio.CancelledError:
            self._obey(machine.receive([CancelRequested()], _now()))
            await self._until_finished(machine)  # its teardowns
            past.stop()
            await tries.stop()
            await slots.end(self._facts)
            self._set_state("failed")
            await self._turn.over(RunState.FAILED, self._facts, self.task_states())
            raise
        return await self._conclude(machine)

    @workflow.query(name=messages.STATES_QUERY)
    def task_states(self) -> list[TaskRow]:
        """Return every task instance, by task id and map index."""
        if self._machine is None:
            return []
        return [self._ledger.task_row(*row) for row in self._machine.rows()]

    @workflow.query(name=messages.XCOMS_QUERY)
    def xcoms(self, questions: list[XComQuestion]) -> list[list[XComRow]]:
        """Answer several questions at once, each with its rows."""
        return [self._ledger.answer(question) for question in questions]

    @workflow.query(name=messages.FACTS_QUERY)
    def run_facts(self) -> RunSecretsAndConf:
        """Return what the run was started with that tries are not told."""
        return RunSecretsAndConf(self._request.conf, self._request.sealed)

    @workflow.signal(name=messages.ADMITTED_SIGNAL)
    def admitted(self) -> None:
        """Its DAG lets the run begin."""
        self._turn.admit()

    @workflow.signal(name=messages.LENT_SIGNAL)
    def slots_lent(self, lease_ids: list[str]) -> None:
        """A pool has lent what was waited for."""
        self._slots.lend(lease_ids)

    @workflow.query(name=messages.WANTED_QUERY)
    def slots_wanted(self) -> list[Wish]:
        """Return what task instances wait for."""
        return self._slots.wanted()

    @workflow.update(name=messages.RESPOND_UPDATE)
    async def respond(self, response: Response) -> None:
        """Take a person's answer to what a task asks."""
        assert self._waits is not None  # noqa: S101  # as the validator has seen
        self._waits.answer(response)

    @respond.validator
    def _check_response(self, response: Response) -> None:
        why = "The run has not begun."
        if self._waits is not None:
            why = self._waits.objection(response) or ""
        if why:
            raise ApplicationError(why, type=messages.RESPONSE_REFUSED)

    # -- before the first task --------------------------------------------------

    async def _read_dag(self) -> DagAnswer:
        request = self._request
        question = DagQuestion(
            request.dag_id,
            request.dag_file,
            request.conf,
            request.run_id,
            self._logical_date,
            request.run_type,
        )
        answer: DagAnswer = await workflow.execute_local_activity(
            messages.READ_DAG,
            question,
            result_type=DagAnswer,
            start_to_close_timeout=_READ_TIMEOUT,
            retry_policy=_READ_AGAIN,
            summary=limits.shortened(f"read {request.dag_id}"),
        )
        return answer

    def _describe(self, dag: DagAnswer) -> RunFacts:
        request = self._request
        now = self._started.isoformat()
        logical_date = self._logical_date
        run_after = request.run_after or logical_date or now
        is_small = len(json.dumps(request.conf)) <= _INLINE_CONF_BYTES
        return RunFacts(
            dag_id=request.dag_id,
            run_id=request.run_id or f"{request.run_type}__{logical_date}",
            run_type=request.run_type,
            logical_date=logical_date,
            data_interval_start=request.data_interval_start or dag.data_interval_start,
            data_interval_end=request.data_interval_end or dag.data_interval_end,
            partition_key=request.partition_key,
            run_after=run_after,
            start_date=now,
            file=dag.file,
            conf=request.conf if is_small else None,
            is_sealed=request.sealed is not None,
            triggering_user=request.triggering_user,
            workflow_id=workflow.info().workflow_id,
        )

    def _publish(self, dag: DagAnswer) -> None:
        """Make a run that was started by hand as easy to find as a submitted one."""
        self._searchable = dag.has_search_attributes
        known = workflow.info().typed_search_attributes
        if not self._searchable or known.get(attributes.DAG_ID) is not None:
            return
        facts = self._facts
        found_by = attributes.of_run(
            facts.dag_id, facts.run_id, facts.run_type, facts.logical_date
        )
        workflow.upsert_search_attributes(attributes.updates(found_by))

    async def _await_turn(self, dag: DagAnswer) -> None:
        try:
            if await self._turn.come(self._facts, dag, self._show_queued):
                self._facts = replace(self._facts, start_date=_iso_now())
                self._set_state(RunState.RUNNING)
        except asyncio.CancelledError:
            self._set_state(RunState.FAILED)
            await self._turn.over(RunState.FAILED, self._facts, [])
            raise

    def _show_queued(self) -> None:
        self._set_state(RunState.QUEUED)
        workflow.set_current_details(details.QUEUED)

    # -- the loop ---------------------------------------------------------------

    async def _until_finished(self, machine: DagRun) -> None:
        while self._finish is None:
            await workflow.wait_condition(lambda: bool(self._inbox))
            events = list(self._inbox)
            self._inbox.clear()
            self._obey(machine.receive(events, _now()))

    def _obey(self, decisions: Iterable[Decision]) -> None:
        self._tries.new_activation()
        for decision in decisions:
            match decision:
                case StartTask():
                    self._tries.start(decision)
                case StartWait():
                    self._tries.park(decision)
                case StopTask(task_id, map_index):
                    self._tries.cancel(task_id, map_index)
                case AskSlots() | ReturnSlots():
                    self._slots.obey(decision, self._facts, self._inbox.append)
                case WaitUntil(at):
                    self._wake(at)
                case FinishRun():
                    self._finish = decision
        self._draw()

    def _draw(self) -> None:
        """Redraw questions and states; of a large run only now and then, at a question and at its end."""
        self._undrawn += 1
        facts, asked = self._facts, self._tries.waits.questions()
        text = questions.section(facts.dag_id, facts.run_id, asked)
        is_due = self._undrawn * _REDRAW_ROWS > self._rows_drawn
        if self._finish or is_due or text != self._asked:
            rows = self.task_states()
            self._undrawn, self._rows_drawn, self._asked = 0, len(rows), text
            workflow.set_current_details(text + details.table(rows))

    def _wake(self, at: float) -> None:
        async def sleep() -> None:
            await asyncio.sleep(max(0.0, at - _now()))
            self._inbox.append(TimeReached())

        timer = asyncio.create_task(sleep())
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)

    # -- after the last task ----------------------------------------------------

    async def _conclude(self, machine: DagRun) -> DagExecutionResult:
        assert self._finish is not None  # noqa: S101  # the loop has ended
        rows = self.task_states()
        await self._turn.over(self._finish.state, self._facts, rows)
        states = [row.state for row in rows]
        result = DagExecutionResult(
            state=self._finish.state.value,
            dag_id=self._facts.dag_id,
            run_id=self._facts.run_id,
            start_date=self._facts.start_date,
            end_date=_iso_now(),
            tasks_succeeded=states.count(TaskState.SUCCESS),
            tasks_failed=states.count(TaskState.FAILED),
            tasks=shorten(rows, _MAX_ROWS),
            tasks_total=len(rows),
        )
        self._set_state(result.state)
        callback = DagCallback(
            is_failure=result.state == "failed",
            reason=self._finish.reason,
            end_date=result.end_date,
        )
        if getattr(machine.plan, f"has_{callback.name}"):
            about = callbacks.subject(
                rows, callback.reason, upstreams_of=machine.direct_upstreams
            )
            await self._tries.call_back(callback, about)
        if result.state == "failed":
            raise ApplicationError(
                _failure_text(self._finish.reason, rows),
                result,
                type=messages.RUN_FAILED,
                non_retryable=True,
            )
        return result

    def _set_state(self, state: str) -> None:
        if self._searchable:
            workflow.upsert_search_attributes([attributes.STATE.value_set(state)])


@workflow.defn(name=messages.ASK_WORKFLOW)
class AskApplianceWorker:
    """Asks a worker one question on behalf of the command line, which deletes this workflow afterwards."""

    @workflow.run
    async def run(self, request: AskInput) -> Any:
        """Return what the activity answers."""
        return await workflow.execute_local_activity(
            request.activity,
            request.question,
            start_to_close_timeout=timedelta(seconds=request.timeout_s),
            retry_policy=_ONCE,
        )


def _now() -> float:
    return workflow.now().timestamp()


def _iso_now() -> str:
    return workflow.now().isoformat()


def _failure_text(reason: str, rows: Iterable[TaskRow]) -> str:
    failed = [
        details.summary(r.task_id, r.map_index, r.try_number)
        for r in rows
        if r.state == "failed"
    ]
    if not failed:
        return f"The DAG run failed: {reason}"
    more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""  # noqa: PLR2004  # a line
    return f"The DAG run failed ({reason}): {', '.join(failed[:5])}{more}"
