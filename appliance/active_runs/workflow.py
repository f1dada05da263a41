"""The workflow that stands for a DAG: it remembers the DAG's runs and lets no more of them run than may.

A run announces itself and tells how it ended; whatever is lost is found again. While a run waits, those it waits for
are looked at every few seconds, so that nothing is held for a run somebody terminated. A new one, after somebody
terminated the last, takes over what that knew. The history stays small: it continues as new.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from appliance.active_runs.details import active_runs_table
    from appliance.active_runs.input_checks import of_card
    from appliance.active_runs.messages import (
        ADMITTED_SIGNAL,
        CLOSED_SIGNAL,
        DAG_WORKFLOW,
        ENTER_UPDATE,
        FIND_LOST_RUNS,
        FIND_QUERY,
        HOLDERS_QUERY,
        LOST_SIGNAL,
        ActiveRunsState,
        FoundRun,
        LostRun,
        RunAnnouncement,
        RunEnd,
    )
    from appliance.active_runs.model import ActiveRuns
    from appliance.dagrun.run_record import RunQuery, RunRecord
    from appliance.temporal import (
        compression,
        entity_takeover,
        input_checks,
        messages,
    )

_MOST_EVENTS = 1000
_LOOK_AGAIN = timedelta(seconds=10)
_LOOK_TIMEOUT = timedelta(seconds=60)


@workflow.defn(name=DAG_WORKFLOW, failure_exception_types=(TypeError,))
class AirflowDag:
    """One DAG."""

    @workflow.init
    def __init__(self, state: ActiveRunsState) -> None:
        """Take over what was known."""
        input_checks.refuse(input_checks.of_state(state, state.packed))
        self._dag_id = state.dag_id
        known = compression.unpacked(state.packed) if state.packed else {}
        self._roster = ActiveRuns.from_json(known)
        self._is_ready = state.packed is not None
        self._admitted: list[RunRecord] = []
        self._watch: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, _state: ActiveRunsState) -> None:
        """Never end, but continue as new."""
        if not self._is_ready:
            await self._rebuild()
        while not self._is_long():
            await workflow.wait_condition(
                lambda: bool(self._admitted) or self._must_watch() or self._is_long()
            )
            if self._must_watch():
                self._watch = asyncio.create_task(self._watch_holders())
            await self._tell_admitted()
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._tell_admitted()
        workflow.continue_as_new(
            ActiveRunsState(self._dag_id, compression.packed_state(self._roster))
        )

    @workflow.update(name=ENTER_UPDATE)
    async def enter(self, entries: list[RunAnnouncement]) -> list[bool]:
        """Take in runs that begin; tell of each whether it may run now. The others are told by a signal."""
        for entry in entries:
            input_checks.refuse(of_card(entry.card))
        await workflow.wait_condition(lambda: self._is_ready)
        known = {card.run_id for card in self._roster.running}
        known.update(entry.card.run_id for entry in entries)
        for entry in entries:
            self._roster.announce(entry.card, entry.limit)
        # A new limit may let others run, too, and those that came before it.
        running = self._roster.running
        self._admitted += [card for card in running if card.run_id not in known]
        self._draw()
        admitted = {card.run_id for card in running}
        return [entry.card.run_id in admitted for entry in entries]

    @workflow.signal(name=CLOSED_SIGNAL)
    async def closed(self, closing: RunEnd) -> None:
        """Take in how a run ended."""
        input_checks.refuse(of_card(closing.card))
        await workflow.wait_condition(lambda: self._is_ready)
        self._roster.close(closing.card, closing.tasks)
        self._admitted += self._roster.admit()
        self._draw()

    @workflow.signal(name=LOST_SIGNAL)
    async def lost(self, runs: list[LostRun]) -> None:
        """Take in that runs are gone and said nothing."""
        await workflow.wait_condition(lambda: self._is_ready)
        self._lose(runs)

    @workflow.query(name=FIND_QUERY)
    def find(self, question: RunQuery) -> list[FoundRun]:
        """Return the runs asked for."""
        tasks = self._roster.tasks if question.with_tasks else {}
        return [
            FoundRun(card, tasks.get(card.run_id, ""))
            for card in self._roster.find(question)
        ]

    @workflow.query(name=HOLDERS_QUERY)
    def holders(self) -> list[RunRecord]:
        """Return the runs that others wait for; nobody when no run waits."""
        return self._roster.running if self._roster.held else []

    @workflow.query(name=messages.STATE_QUERY)
    def state(self) -> str:
        """Return everything known, packed; fails while it is not known what an earlier one knew."""
        if not self._is_ready:
            raise RuntimeError("it has not taken over yet what an earlier one knew")
        return compression.packed_state(self._roster)

    async def _rebuild(self) -> None:
        self._roster = ActiveRuns.from_json(await entity_takeover.taken_over())
        self._is_ready = True

    async def _tell_admitted(self) -> None:
        while self._admitted:
            card = self._admitted.pop(0)
            handle = workflow.get_external_workflow_handle(card.workflow_id)
            try:
                await handle.signal(ADMITTED_SIGNAL)
            except ApplicationError:
                self._lose([LostRun(card.run_id, card.execution)])

    def _lose(self, runs: list[LostRun]) -> None:
        for run in runs:
            self._roster.lose(run.run_id, run.execution)
        self._admitted += self._roster.admit()
        self._draw()

    def _draw(self) -> None:
        known = self._roster
        text = active_runs_table(known.running, known.queued, len(known.closed))
        workflow.set_current_details(text)

    def _must_watch(self) -> bool:
        """Whether some wait for others, and nobody looks at those."""
        is_idle = self._watch is None or self._watch.done()
        return is_idle and bool(self._roster.held and self._roster.running)

    def _is_long(self) -> bool:
        return workflow.info().get_current_history_length() > _MOST_EVENTS

    async def _watch_holders(self) -> None:
        """Learn of runs that are gone; the activity leaves no events until there is one, or nobody waits."""
        gone: list[LostRun] = await workflow.execute_activity(
            FIND_LOST_RUNS,
            self._dag_id,
            result_type=list[LostRun],
            start_to_close_timeout=_LOOK_TIMEOUT,
            retry_policy=RetryPolicy(
                initial_interval=_LOOK_AGAIN, backoff_coefficient=1.0
            ),
            cancellation_type=ActivityCancellationType.ABANDON,
            summary=f"who still runs of {self._dag_id}"[:200],
        )
        self._lose(gone)
