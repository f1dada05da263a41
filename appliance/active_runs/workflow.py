"""``AirflowDag``, one workflow per DAG: remembers the runs of the DAG and admits at most ``max_active_runs`` of them.

A run announces itself and tells how it ended; whatever is lost is found again. While a run waits, those it waits for
are looked at every few seconds, so that nothing is held for a run somebody terminated. A new one, after somebody
terminated the last, takes over what that knew. The history stays small: it continues as new.
"""

from datetime import timedelta
from typing import Any

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
        input_checks,
        messages,
    )
    from appliance.temporal.entity_loop import EntityLoop

_LOOK_AGAIN = timedelta(seconds=10)
_LOOK_TIMEOUT = timedelta(seconds=60)


@workflow.defn(name=DAG_WORKFLOW, failure_exception_types=(TypeError,))
class AirflowDag(EntityLoop):
    """One DAG."""

    @workflow.init
    def __init__(self, state: ActiveRunsState) -> None:
        """Take over what was known."""
        input_checks.refuse(input_checks.of_state(state, state.packed))
        self._dag_id = state.dag_id
        self._admitted: list[RunRecord] = []
        super().__init__(state.packed)

    @workflow.run
    async def run(self, _state: ActiveRunsState) -> None:
        """Never end, but continue as new."""
        await self.serve()

    @workflow.update(name=ENTER_UPDATE)
    async def enter(self, entries: list[RunAnnouncement]) -> list[bool]:
        """Take in runs that begin; tell of each whether it may run now. The others are told by a signal."""
        for entry in entries:
            input_checks.refuse(of_card(entry.card))
        await self.ready()
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
        await self.ready()
        self._roster.close(closing.card, closing.tasks)
        self._admitted += self._roster.admit()
        self._draw()

    @workflow.signal(name=LOST_SIGNAL)
    async def lost(self, runs: list[LostRun]) -> None:
        """Take in that runs are gone and said nothing."""
        await self.ready()
        self._lose(runs)

    @workflow.query(name=FIND_QUERY)
    def find(self, question: RunQuery) -> list[FoundRun]:
        """Return the runs asked for."""
        self.refuse_until_ready()
        tasks = self._roster.tasks if question.with_tasks else {}
        return [
            FoundRun(card, tasks.get(card.run_id, ""))
            for card in self._roster.find(question)
        ]

    @workflow.query(name=HOLDERS_QUERY)
    def holders(self) -> list[RunRecord]:
        """Return the runs that others wait for; nobody when no run waits."""
        self.refuse_until_ready()
        return self._roster.running if self._roster.held else []

    @workflow.query(name=messages.STATE_QUERY)
    def state(self) -> str:
        """Return everything known, packed; fails while it is not known what an earlier one knew."""
        return self.known_state()

    def restore(self, state: Any) -> None:
        """Take this state."""
        self._roster = ActiveRuns.from_json(state)

    def packed(self) -> str:
        """Return the state."""
        return compression.packed_state(self._roster)

    def next_input(self) -> ActiveRunsState:
        """Return the input of the next run."""
        return ActiveRunsState(self._dag_id, self.packed())

    def has_signals(self) -> bool:
        """Whether runs that may run now have not been told so."""
        return bool(self._admitted)

    def is_contended(self) -> bool:
        """Whether runs wait for others to end."""
        return bool(self._roster.held and self._roster.running)

    async def send_signals(self) -> None:
        """Tell runs that they may run now."""
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

    async def watch(self) -> None:
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
