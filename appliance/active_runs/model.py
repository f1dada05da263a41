"""State of the DAG workflow: which runs may run now, which are queued, and a record of those that ended. Pure.

A run announces itself and is admitted or queued; queued runs are admitted by the time they are due, then in the order
they came. Runs of a backfill have a lane, and a limit, of their own. Saying anything twice does no harm.

Source: Airflow 3.3: ``SchedulerJobRunner._start_queued_dagruns``, ``DagRun.get_queued_dag_runs_to_set_running``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.state_version import VERSION_KEY, refuse_newer
from appliance.dagrun.states import RunState

_T = TypeVar("_T")
STATE_VERSION = 1
"""Of what ``to_json`` writes."""
MOST_CLOSED = 2000
"""Runs that have ended and are remembered."""
MOST_OPEN = 2000
"""Runs that wait or go on and are remembered. Who waits beyond them is told to wait, and is let in when it asks again."""
MOST_TASKS_CHARS = 512 * 1024
"""What may be remembered of their task instances; the oldest go first."""


@dataclass(slots=True)
class ActiveRuns:
    """The runs of one DAG."""

    open: dict[str, RunRecord] = field(default_factory=dict)
    """By run id, in the order they came."""
    closed: dict[str, RunRecord] = field(default_factory=dict)
    """By run id, in the order they ended."""
    tasks: dict[str, str] = field(default_factory=dict)
    """Run id -> its task instances at its end, packed by whoever asks."""
    limits: dict[str, int] = field(default_factory=dict)
    """By lane: how many may run at once, as the last run to come said."""

    def announce(self, card: RunRecord, limit: int) -> bool:
        """Take in a run; tell whether it may run now."""
        known = self.open.get(card.run_id)
        if known is None or known.execution != card.execution:
            self.limits[card.lane] = limit
        # One that waits announces itself again and again, with the limit of its day.
        self.limits.setdefault(card.lane, limit)
        if known is None:
            self._forget(card.run_id)
            state = RunState.QUEUED
        else:
            state = known.state
        self.open[card.run_id] = replace(card, state=state)
        if state is RunState.QUEUED:
            self._admit_next(card.lane)
        self._keep_bound()
        known = self.open.get(card.run_id)
        return known is not None and known.state is RunState.RUNNING

    def admit(self) -> list[RunRecord]:
        """Let everybody run who may now, and return them."""
        return [card for lane in list(self.limits) for card in self._admit_next(lane)]

    def close(self, card: RunRecord, tasks: str) -> None:
        """Take in how a run ended. An end told by an execution that has been replaced is not heard."""
        known = self.open.get(card.run_id)
        if known is not None and known.execution not in ("", card.execution):
            return
        self._forget(card.run_id)
        self.closed[card.run_id] = card
        self.tasks[card.run_id] = tasks
        self._trim()

    def lose(self, run_id: str, execution: str) -> None:
        """Take in that a run is gone and said nothing: somebody terminated it."""
        known = self.open.get(run_id)
        if known is not None and known.execution == execution:
            self._forget(run_id)
            self.closed[run_id] = replace(known, state=RunState.FAILED)
            self._trim()

    @property
    def queued(self) -> list[RunRecord]:
        """Who waits, in the order of admission."""
        waiting = (c for c in self.open.values() if c.state is RunState.QUEUED)
        return sorted(waiting, key=lambda card: card.run_after)

    @property
    def held(self) -> list[RunRecord]:
        """Who waits for others to end, in the order of admission."""
        return [card for card in self.queued if card.is_due]

    @property
    def running(self) -> list[RunRecord]:
        """Who has been admitted and has not ended."""
        return [c for c in self.open.values() if c.state is RunState.RUNNING]

    def find(self, question: RunQuery) -> list[RunRecord]:
        """Return the runs asked for."""
        found = [card for card in self._all() if _fits(card, question)]
        if question.most is not None:
            found.sort(
                key=lambda card: card.logical_date or card.run_after, reverse=True
            )
            del found[question.most :]
        return found

    def lighter(self) -> "ActiveRuns | None":
        """Return the same with less: of the past the oldest first, then who would be let in last; None: nothing is left.

        Of those that go on nothing is left out but their conf, and who waits asks again.
        """
        opened = self.open.items()
        waiting = {card.run_id for card in self.queued[len(self.queued) // 2 :]}
        if self.tasks:
            return replace(self, tasks=_newer_half(self.tasks))
        if any(card.conf for card in self.closed.values()):
            return replace(self, closed=_without_conf(self.closed))
        if self.closed:
            return replace(self, closed=_newer_half(self.closed))
        if any(card.conf for _, card in opened):
            return replace(self, open=_without_conf(self.open))
        if waiting:
            kept = {run_id: card for run_id, card in opened if run_id not in waiting}
            return replace(self, open=kept)
        return None

    def to_json(self) -> dict[str, Any]:
        """Write everything as plain JSON values."""
        return {
            VERSION_KEY: STATE_VERSION,
            "open": [_written(card) for card in self.open.values()],
            "closed": [_written(card) for card in self.closed.values()],
            "tasks": self.tasks,
            "limits": self.limits,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ActiveRuns":
        """Read what ``to_json`` of this or an older version wrote.

        Raises:
            NewerStateError: a newer version wrote it.
        """
        refuse_newer(data, STATE_VERSION, "the active runs of a DAG")
        return cls(
            open=_read(data.get("open", ())),
            closed=_read(data.get("closed", ())),
            tasks=dict(data.get("tasks", {})),
            limits=dict(data.get("limits", {})),
        )

    def _all(self) -> Iterator[RunRecord]:
        yield from self.closed.values()
        yield from self.open.values()

    def _admit_next(self, lane: str) -> list[RunRecord]:
        running = sum(card.lane == lane for card in self.running)
        room = max(0, self.limits[lane] - running)
        waiting = [card for card in self.held if card.lane == lane][:room]
        admitted = [replace(card, state=RunState.RUNNING) for card in waiting]
        self.open.update((card.run_id, card) for card in admitted)
        return admitted

    def _forget(self, run_id: str) -> None:
        self.open.pop(run_id, None)
        self.closed.pop(run_id, None)
        self.tasks.pop(run_id, None)

    def _keep_bound(self) -> None:
        """Forget who waits and would be let in last, when there are too many."""
        while len(self.open) > MOST_OPEN and (waiting := self.queued):
            del self.open[waiting[-1].run_id]

    def _trim(self) -> None:
        while len(self.closed) > MOST_CLOSED:
            self._forget(next(iter(self.closed)))
        chars = sum(map(len, self.tasks.values()))
        while chars > MOST_TASKS_CHARS and len(self.tasks) > 1:
            chars -= len(self.tasks.pop(next(iter(self.tasks))))


def _newer_half(known: dict[str, _T]) -> dict[str, _T]:
    return dict(list(known.items())[(len(known) + 1) // 2 :])


def _without_conf(cards: dict[str, RunRecord]) -> dict[str, RunRecord]:
    return {run_id: replace(card, conf=None) for run_id, card in cards.items()}


def _fits(card: RunRecord, asked: RunQuery) -> bool:
    date = card.logical_date
    tests = (
        asked.run_ids is None or card.run_id in asked.run_ids,
        asked.logical_dates is None or date in asked.logical_dates,
        asked.states is None or card.state in asked.states,
        asked.before is None or (date is not None and date < asked.before),
        asked.until is None or (date or card.run_after) <= asked.until,
        not asked.is_dated or date is not None,
        not asked.no_manual or card.run_type != "manual",
    )
    return all(tests)


def _written(card: RunRecord) -> dict[str, Any]:
    return {name: value for name, value in asdict(card).items() if value is not None}


def _read(rows: Iterable[Mapping[str, Any]]) -> dict[str, RunRecord]:
    cards = (RunRecord(**{**row, "state": RunState(row["state"])}) for row in rows)
    return {card.run_id: card for card in cards}
