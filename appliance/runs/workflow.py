"""``ExecuteAirflowDagWorkflow``, one workflow per DAG run.

Decisions of the machine become activities and timers, their ends become events. No rules of its own, no clock but
``workflow.now()``.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, replace

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from appliance.active_runs.messages import ADMITTED_SIGNAL
    from appliance.active_runs.run_side import Admission, UnsignedPlanError
    from appliance.dagrun.attempt import XComRow
    from appliance.dagrun.events import (
        AskSlots,
        CancelRequested,
        Decision,
        Event,
        FinishRun,
        HoldSlots,
        ReturnSlots,
        StartTask,
        StartWait,
        StopTask,
        TimeReached,
        WaitUntil,
    )
    from appliance.dagrun.machine import DagRun
    from appliance.dagrun.plan import Plan
    from appliance.dagrun.states import RunState
    from appliance.past.run_side import Past
    from appliance.pools.messages import LENT_SIGNAL, WANTED_QUERY, SlotRequest
    from appliance.pools.run_side import RunSlots
    from appliance.runs import dag_reading, final_record, hitl
    from appliance.runs.attempts import Attempts
    from appliance.runs.continue_as_new import CarriedRun, CarriedTry, is_too_large
    from appliance.runs.deferrals import Deferrals
    from appliance.runs.details import failure_line, task_table
    from appliance.runs.input_checks import of_run
    from appliance.runs.messages import (
        FACTS_QUERY,
        RESPOND_UPDATE,
        RESPONSE_REFUSED,
        RESULT_MEMO,
        XCOMS_QUERY,
        DagExecutionResult,
        Response,
        RunSecretsAndConf,
        XComQuestion,
    )
    from appliance.runs.notifications import Notifications
    from appliance.runs.run_data import RunData
    from appliance.runs.run_records import concluded, described
    from appliance.temporal import input_checks, limits, messages, search_attributes
    from appliance.temporal.messages import (
        DagAnswer,
        DagExecutionInput,
        PlanClaim,
        TaskRow,
    )

_REDRAW_ROWS = 200
_FIRST_LOOK_S = 1.5
"""By then a try that has begun has sent its first heartbeat, which names its worker."""
_LAST_LOOK_S = 20.0
"""Nothing begins while it looks."""
_MOST_RUNNING = 1000
"""Temporal takes 2,000 unfinished activities a workflow and 4 MB a workflow task; past either, the run is stuck."""
_RESULT_OF_CANCELLED = "result-of-cancelled"
"""Before, the end of a cancelled run was only in its replay."""
_MOST_MEMO_BYTES = 256 * 1024
"""A memo is stored with the list of workflows, too."""
_LISTENERS_OF_QUEUED = "listeners-of-queued"
"""Before, a run that was cancelled while it was queued called no listener."""


@workflow.defn(
    name=messages.WORKFLOW,
    # Input that somebody made by hand ends the run; otherwise it would be tried for ever.
    failure_exception_types=(TypeError, ValueError, LookupError, ArithmeticError),
)
class ExecuteAirflowDagWorkflow:
    """One run of one DAG."""

    @workflow.init
    def __init__(self, request: DagExecutionInput) -> None:
        """Remember what was asked; nothing is decided yet."""
        self._request = request
        self._run_data = RunData()
        self._inbox: list[Event] = []
        self._machine: DagRun | None = None
        self._waits: Deferrals | None = None
        self._finish: FinishRun | None = None
        self._timers: set[asyncio.Task[None]] = set()
        self._admission = Admission(request)
        self._started = workflow.now()
        self._logical_date: str | None = None
        if request.is_dated and request.partition_key is None:
            self._logical_date = self._started.isoformat()
        self._undrawn = self._rows_drawn = 0
        self._asked = ""
        self._can_hand_over = True

    @workflow.run
    async def run(self, request: DagExecutionInput) -> DagExecutionResult:
        """Run the DAG to its end.

        Raises:
            ApplicationError: type ``DagRefused``: it cannot be run; ``DagExecutionFailure``: it ran and failed.
        """
        goes_on = workflow.info().continued_run_id is not None
        input_checks.refuse(of_run(request, workflow.now(), goes_on=goes_on))
        if request.logical_date is not None:
            self._logical_date = messages.utc(request.logical_date)
        dag = request.dag or await dag_reading.read(request, self._logical_date)
        dag_reading.accept(dag)
        self._request = replace(request, dag=dag)
        if request.carried is not None:
            machine, tries = self._take_up(request.carried, dag)
        else:
            machine, tries = await self._begin(dag, dag_reading.claim(request))
        past = Past(machine.plan, self._request.dag or dag, request)
        past.watch(self._facts, self._inbox.append)
        try:
            await self._until_finished(machine)
            past.stop()
            await tries.stop()
            await self._slots.end(self._facts)
        except (asyncio.CancelledError, ActivityError) as err:
            if not exceptions.is_cancelled_exception(err):
                raise
            self._can_hand_over = False  # A fresh workflow run would not be cancelled.
            self._obey(machine.receive([CancelRequested()], _now()))
            await self._until_finished(machine)  # its teardowns
            past.stop()
            await tries.stop()
            await self._slots.end(self._facts)
            self._set_state("failed")
            await self._admission.report_end(
                RunState.FAILED, self._facts, self.task_states()
            )
            await self._notifications.cancelled(_iso_now())
            self._keep_result_of_cancelled(machine)
            raise
        return await self._conclude()

    @workflow.query(name=messages.STATES_QUERY)
    def task_states(self) -> list[TaskRow]:
        """Return every task instance, by task id and map index."""
        if self._machine is None:
            return []
        return [self._run_data.task_row(*row) for row in self._machine.rows()]

    @workflow.query(name=XCOMS_QUERY)
    def xcoms(self, questions: list[XComQuestion]) -> list[list[XComRow]]:
        """Answer several questions at once, each with its rows."""
        return [self._run_data.answer(question) for question in questions]

    @workflow.query(name=FACTS_QUERY)
    def run_facts(self) -> RunSecretsAndConf:
        """Return what the run was started with that tries are not told."""
        return RunSecretsAndConf(self._request.conf, self._request.sealed)

    @workflow.signal(name=ADMITTED_SIGNAL)
    def admitted(self) -> None:
        """Its DAG lets the run begin."""
        self._admission.admit()

    @workflow.signal(name=LENT_SIGNAL)
    def slots_lent(self, lease_ids: list[str]) -> None:
        """A pool has lent what was waited for."""
        if self._machine is not None:  # A run that was just handed over asks again.
            self._slots.lend(lease_ids)

    @workflow.query(name=WANTED_QUERY)
    def slots_wanted(self) -> list[SlotRequest]:
        """Return what task instances wait for."""
        return [] if self._machine is None else self._slots.wanted()

    @workflow.update(name=RESPOND_UPDATE)
    async def respond(self, response: Response) -> None:
        """Take a person's answer to what a task asks."""
        assert self._waits is not None  # noqa: S101  # as the validator has seen
        self._waits.answer(response)

    @respond.validator
    def _check_response(self, response: Response) -> None:
        why = "The run has not begun."
        if self._waits is not None:
            why = (
                input_checks.of_anything(response)
                or self._waits.objection(response)
                or ""
            )
        if why:
            raise ApplicationError(why, type=RESPONSE_REFUSED)

    # -- before the first task --------------------------------------------------

    def _plan(self, dag: DagAnswer) -> Plan:
        plan = Plan.from_json(dag.plan)
        self._slots = slots = RunSlots(plan, dag, self._inbox.append)
        most = min(plan.max_active_tasks, _MOST_RUNNING)
        plan = replace(plan, lent=slots.groups, exempt=slots.exempt)
        return replace(plan, max_active_tasks=most)

    def _follow(self, machine: DagRun) -> Attempts:
        self._tries = Attempts(self._facts, machine, self._run_data, self._inbox.append)
        self._waits = self._tries.waits
        self._notifications = Notifications(self._facts, machine, self._tries)
        return self._tries

    async def _begin(
        self, dag: DagAnswer, claim: PlanClaim | None
    ) -> tuple[DagRun, Attempts]:
        self._facts = described(
            self._request,
            dag,
            logical_date=self._logical_date,
            started=self._started.isoformat(),
            workflow_id=workflow.info().workflow_id,
        )
        self._publish(dag, is_read=claim is None)
        try:
            await self._await_admission(dag, claim)
        except UnsignedPlanError:
            dag = await dag_reading.read(self._request, self._logical_date)
            self._request = replace(self._request, dag=dag)
            return await self._begin(dag, None)
        self._machine = machine = self._new_machine(dag)
        tries = self._follow(machine)
        self._notifications.begun()
        self._obey(machine.start(_now()))
        return machine, tries

    def _new_machine(self, dag: DagAnswer) -> DagRun:
        return DagRun(
            self._plan(dag),
            logical_date=self._logical_date,
            is_backfill=self._request.run_type == "backfill",
            retry_lost=dag.retry_lost,
            max_lost=dag.max_lost,
        )

    def _take_up(self, carried: str, dag: DagAnswer) -> tuple[DagRun, Attempts]:
        """Go on where an earlier workflow run of this run has handed over."""
        found = CarriedRun.of(carried, self._plan(dag))
        self._facts, self._run_data = found.facts, found.ledger
        self._machine = machine = found.machine
        self._publish(dag, is_read=True)
        self._admission.resume(found.facts)
        tries = self._follow(machine)
        tries.resume(found.tries, found.waits)
        for at in machine.wakes:
            self._wake(at)
        # Who waits for slots of pools asks for them again.
        self._obey(machine.receive([], _now()))
        return machine, tries

    def _publish(self, dag: DagAnswer, *, is_read: bool) -> None:
        """Make a run that was started by hand as easy to find as a submitted one."""
        known = workflow.info().typed_search_attributes.get(search_attributes.DAG_ID)
        is_likely = is_read or known is not None
        self._searchable = dag.has_search_attributes and is_likely
        if not self._searchable or known is not None:
            return
        facts = self._facts
        found_by = search_attributes.of_run(
            facts.dag_id, facts.run_id, facts.run_type, facts.logical_date
        )
        workflow.upsert_search_attributes(search_attributes.updates(found_by))

    async def _await_admission(self, dag: DagAnswer, claim: PlanClaim | None) -> None:
        try:
            if await self._admission.wait(self._facts, dag, claim, self._show_queued):
                self._facts = replace(self._facts, start_date=_iso_now())
                self._set_state(RunState.RUNNING)
        except (asyncio.CancelledError, ActivityError) as err:
            self._set_state(RunState.FAILED)
            await self._admission.report_end(RunState.FAILED, self._facts, [])
            is_cancelled = exceptions.is_cancelled_exception(err)
            if is_cancelled and workflow.patched(_LISTENERS_OF_QUEUED):
                self._follow(self._new_machine(dag))
                await self._notifications.cancelled(_iso_now())
            raise

    def _show_queued(self, why: str) -> None:
        self._set_state(RunState.QUEUED)
        workflow.set_current_details(why)

    # -- the loop ---------------------------------------------------------------

    async def _until_finished(self, machine: DagRun) -> None:
        while self._finish is None:
            await workflow.wait_condition(lambda: bool(self._inbox))
            self._take_in(machine)
            if self._can_hand_over and workflow.info().is_continue_as_new_suggested():
                await self._hand_over(machine)

    def _take_in(self, machine: DagRun) -> None:
        events = list(self._inbox)
        self._inbox.clear()
        self._obey(machine.receive(events, _now()))

    async def _hand_over(self, machine: DagRun) -> None:
        """Go on in a fresh workflow run as soon as the worker of every try that runs is known."""
        self._tries.pause_starts()
        pause_s = _FIRST_LOOK_S
        try:
            while self._finish is None and self._can_hand_over:
                await self._take_in_for(pause_s, machine)
                holders = await self._tries.locations()
                if self._inbox:
                    self._take_in(machine)
                tries = self._tries.carried(holders)
                if not self._slots.is_settled:
                    tries = None
                if tries is not None and self._finish is None:
                    self._go_on_afresh(machine, tries)
                pause_s = min(2 * pause_s, _LAST_LOOK_S)
        except (asyncio.CancelledError, ActivityError):
            self._tries.resume_starts()
            raise
        self._tries.resume_starts()

    async def _take_in_for(self, seconds: float, machine: DagRun) -> None:
        until = _now() + seconds
        while self._finish is None and (left_s := until - _now()) > 0:
            with suppress(TimeoutError):
                await workflow.wait_condition(lambda: bool(self._inbox), timeout=left_s)
                self._take_in(machine)

    def _go_on_afresh(self, machine: DagRun, tries: list[CarriedTry]) -> None:
        waits = self._tries.waits.to_json()
        carried = CarriedRun(self._facts, machine, self._run_data, tries, waits)
        fresh = carried.onto(self._slots.onto(self._request))
        if not is_too_large(fresh):
            workflow.continue_as_new(fresh)
        workflow.logger.warning("the run is too large to go on with a fresh history")
        self._can_hand_over = False

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
                case AskSlots() | HoldSlots() | ReturnSlots():
                    self._slots.carry_out(decision, self._facts)
                case WaitUntil(at):
                    self._wake(at)
                case FinishRun():
                    self._finish = decision
        self._draw()

    def _draw(self) -> None:
        """Redraw questions and states; of a large run only now and then, at a question and at its end."""
        self._undrawn += 1
        facts, asked = self._facts, self._tries.waits.questions()
        text = hitl.section(facts.dag_id, facts.run_id, asked)
        is_due = self._undrawn * _REDRAW_ROWS > self._rows_drawn
        if self._finish or is_due or text != self._asked:
            rows = self.task_states()
            self._undrawn, self._rows_drawn, self._asked = 0, len(rows), text
            workflow.set_current_details(text + task_table(rows))

    def _wake(self, at: float) -> None:
        async def sleep() -> None:
            await asyncio.sleep(max(0.0, at - _now()))
            self._inbox.append(TimeReached())

        timer = asyncio.create_task(sleep())
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)

    # -- after the last task ----------------------------------------------------

    async def _conclude(self) -> DagExecutionResult:
        assert self._finish is not None  # noqa: S101  # the loop has ended
        rows = self.task_states()
        await self._admission.report_end(self._finish.state, self._facts, rows)
        result = concluded(self._facts, self._finish.state, rows, ended=_iso_now())
        self._set_state(result.state)
        await self._notifications.ended(self._finish.reason, result, rows)
        assert self._machine is not None  # noqa: S101  # it has decided on the end
        result = final_record.onto(result, self._facts, self._machine, self._run_data)
        if result.state == "failed":
            raise ApplicationError(
                failure_line(self._finish.reason, rows),
                result,
                type=messages.RUN_FAILED,
                non_retryable=True,
            )
        return result

    def _keep_result_of_cancelled(self, machine: DagRun) -> None:
        """Keep in the memo what a cancelled workflow cannot return, so that it is read without a worker."""
        if not workflow.patched(_RESULT_OF_CANCELLED):
            return
        rows = self.task_states()
        result = concluded(self._facts, RunState.FAILED, rows, ended=_iso_now())
        result = final_record.onto(result, self._facts, machine, self._run_data)
        memo = {RESULT_MEMO: asdict(result)}
        if limits.size_of(memo) <= _MOST_MEMO_BYTES:
            workflow.upsert_memo(memo)

    def _set_state(self, state: str) -> None:
        if self._searchable:
            workflow.upsert_search_attributes(
                [search_attributes.STATE.value_set(state)]
            )


def _now() -> float:
    return workflow.now().timestamp()


def _iso_now() -> str:
    return workflow.now().isoformat()
