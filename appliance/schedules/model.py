"""State of the scheduler workflow: all schedules, how far each has come, and which runs are due now. Pure.

Pure: time is an argument, and what timetables say is asked by whoever drives it (``questions`` and ``told``). A slot
that was foreseen is taken when its time has come. One that nobody took in time (the appliance was down) is taken late
with ``catchup``; without, the timetable is asked again, as Airflow does whenever it reads a DAG file.

Source: Airflow 3.3: ``jobs/scheduler_job_runner.py`` (``_create_dag_runs``), ``models/dag.py``
(``calculate_dagrun_date_fields``), ``dag_processing/collection.py`` (``update_dags``).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from appliance.dagrun.state_version import VERSION_KEY, refuse_newer
from appliance.dagrun.timing import ScheduleDeclaration, ScheduledRun

STATE_VERSION = 1
"""Of what ``to_json`` writes."""
CARRIED_LATE_S = 10.0
"""How long somebody else who wakes us at a slot's time may take, before it is taken without him."""
LATE_S = 30.0
"""From when on a slot counts as missed: how old a file may be before Airflow reads it again."""
BATCH_SLOTS = 50
"""Slots asked for at once when many are due."""
_ASK_AGAIN_S = 3600.0
"""A timetable without a next run may have one later."""
_RETRY_S = 60.0
_MOST_GONE = 10_000


@dataclass(frozen=True, slots=True)
class NextRunQuestion:
    """When does this schedule run next, after ``last``?"""

    name: str
    declaration: ScheduleDeclaration
    last: ScheduledRun | None


@dataclass(frozen=True, slots=True)
class RunStart:
    """Start this run now."""

    declaration: ScheduleDeclaration
    slot: ScheduledRun


@dataclass(slots=True)
class Schedule:
    """One schedule and how far it has come."""

    declaration: ScheduleDeclaration
    said: bool | None = None
    """Whether somebody paused or resumed it; None: nobody."""
    note: str | None = None
    """Why it was paused, or what became of its latest run."""
    last: ScheduledRun | None = None
    """The latest run there has been."""
    coming: list[ScheduledRun] = field(default_factory=list)
    asked_at: float | None = None
    """When ``coming`` was learnt; None: it must be asked for."""
    error: str | None = None
    active: list[str] = field(default_factory=list)
    """Ids of its runs that have not ended, as far as that matters to it."""
    failures: int = 0
    """Runs that failed since the last one that did not."""
    is_carried: bool = False
    """Whether another clock knows its times, and wakes us."""

    @property
    def is_paused(self) -> bool:
        """Whether it starts nothing."""
        return self.declaration.is_paused if self.said is None else self.said

    @property
    def is_idle(self) -> bool:
        """Whether it starts nothing, as long as nobody resumes it or mends its DAG."""
        return self.is_paused or self.declaration.is_barred

    @property
    def counts_runs(self) -> bool:
        """Whether it matters how many of its runs are under way, and how they end."""
        told = self.declaration
        return told.catchup or told.is_strict or told.max_failures > 0

    @property
    def must_be_counted(self) -> bool:
        """Whether it matters now how its runs end, or so many are remembered that most will have."""
        told = self.declaration
        return told.max_failures > 0 or len(self.active) > told.max_active_runs

    def forget(self) -> None:
        """Ask the timetable anew."""
        self.coming, self.asked_at, self.error = [], None, None

    def is_stale(self, now: float) -> bool:
        """Whether the next slot was missed and may be no run at all any more."""
        slot = self.coming[0]
        return (
            not self.declaration.catchup
            and now - slot.at > LATE_S
            and self.asked_at is not None
            and self.asked_at < slot.at
        )

    def is_full(self, now: float) -> bool:
        """Whether so many runs are under way that one more has to wait.

        What is on time does not wait: its run does, where people see it.
        """
        told = self.declaration
        if told.is_strict:
            return bool(self.active)
        is_late = bool(self.coming) and now - self.coming[0].at > LATE_S
        return is_late and len(self.active) >= told.max_active_runs


class Scheduler:
    """All schedules. Tell it what happened, then ask what is to be done."""

    def __init__(self) -> None:
        """There are none yet."""
        self._entries: dict[str, Schedule] = {}
        self._gone: dict[str, tuple[bool | None, ScheduledRun | None]] = {}
        """What is remembered of schedules that vanished, should they come back."""
        self._taken: list[RunStart] = []
        """Runs that were due and of which nobody has said yet whether they were started."""

    def __iter__(self) -> Iterator[Schedule]:
        """Give every schedule, by name."""
        for name in sorted(self._entries):
            yield self._entries[name]

    def find(self, name: str) -> Schedule | None:
        """Return a schedule."""
        return self._entries.get(name)

    # -- what is told

    def declare(self, declarations: Iterable[ScheduleDeclaration]) -> None:
        """Add schedules, or say anew what they are."""
        for told in declarations:
            entry = self._entries.get(told.name)
            if entry is None:
                said, last = self._gone.pop(told.name, (None, None))
                self._entries[told.name] = Schedule(told, said=said, last=last)
                continue
            before, entry.declaration = entry.declaration, told
            if told.is_configured and told.is_paused != before.is_paused:
                entry.said = None  # the file was edited last
            if _timing(before) != _timing(told):
                entry.forget()

    def remove(self, names: Iterable[str]) -> None:
        """Forget schedules, but not how far they had come."""
        for name in names:
            if (entry := self._entries.pop(name, None)) is not None:
                self._gone[name] = (entry.said, entry.last)
        while len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]

    def pause(self, name: str, note: str | None = None) -> None:
        """Start no more of its runs."""
        entry = self._entries[name]
        entry.said, entry.note = True, note

    def resume(self, name: str) -> None:
        """Go on; what was missed meanwhile follows ``catchup``."""
        entry = self._entries[name]
        if entry.is_paused:
            entry.forget()
        entry.said, entry.note, entry.failures = False, None, 0

    def take_answer(
        self,
        question: NextRunQuestion,
        slots: Sequence[ScheduledRun],
        error: str | None,
        now: float,
    ) -> None:
        """Take what a timetable answered at ``now``."""
        entry = self._entries.get(question.name)
        if entry is None or entry.last != question.last:
            return
        if _timing(entry.declaration) == _timing(question.declaration):
            entry.coming, entry.error, entry.asked_at = list(slots), error, now

    def ended(self, name: str, run_id: str, *, is_success: bool | None) -> None:
        """Take that a run ended; ``is_success`` is None: nobody knows how, which counts neither way."""
        entry = self._entries.get(name)
        if entry is None or run_id not in entry.active:
            return
        entry.active.remove(run_id)
        if is_success is None:
            return
        entry.failures = 0 if is_success else entry.failures + 1
        most = entry.declaration.max_failures
        if most and entry.failures >= most and not entry.is_paused:
            self.pause(name, f"its last {most} runs failed")

    def carry(self, names: Iterable[str]) -> None:
        """Take that another clock knows the times of these schedules, and of no other."""
        carried = frozenset(names)
        for name, entry in self._entries.items():
            entry.is_carried = name in carried

    def take_backfilled(self, dag_id: str, slot: ScheduledRun) -> None:
        """Take that a backfill made a run, which counts as one of the schedule's."""
        entry = self._entries.get(dag_id)
        if entry is None or entry.declaration.dag_id != dag_id:
            return
        if entry.last is None or _order(slot) > _order(entry.last):
            entry.last = slot
            entry.forget()

    def made(self, dag_id: str, slot: ScheduledRun) -> None:
        """Take that a run of a schedule was made, from somebody who remembers only that."""
        entry = self._whose(dag_id, slot.run_id)
        if entry is None:
            return
        if entry.counts_runs and slot.run_id not in entry.active:
            entry.active.append(slot.run_id)
        if entry.last is None or _order(slot) > _order(entry.last):
            entry.last = slot
            entry.forget()

    def ordered(self, dag_id: str, slot: ScheduledRun) -> None:
        """Take that it is not known whether a run that was made has been started."""
        entry = self._whose(dag_id, slot.run_id)
        if entry is not None:
            self._taken.append(RunStart(entry.declaration, slot))

    def seen(self, dag_id: str, run_id: str, *, is_success: bool | None) -> None:
        """Take that a run of a DAG ended."""
        entry = self._whose(dag_id, run_id)
        if entry is not None:
            self.ended(entry.declaration.name, run_id, is_success=is_success)

    # -- what is to be done

    def questions(self, now: float) -> list[NextRunQuestion]:
        """Return what has to be asked before anything else can be said."""
        return [
            NextRunQuestion(entry.declaration.name, entry.declaration, entry.last)
            for entry in self
            if not entry.is_idle and _must_ask(entry, now)
        ]

    def due(self, now: float) -> list[RunStart]:
        """Take the slots whose time has come."""
        found = []
        for entry in self:
            while _has_due(entry, now) and not entry.is_full(now):
                slot = entry.coming.pop(0)
                entry.last = slot
                if entry.counts_runs:
                    entry.active.append(slot.run_id)
                if not entry.coming:
                    entry.asked_at = None
                found.append(RunStart(entry.declaration, slot))
        self._taken += found
        return found

    def begun(self) -> list[RunStart]:
        """Return the runs that were due and of which nobody has said yet whether they were started."""
        return list(self._taken)

    def started(self, start: RunStart, error: str | None) -> None:
        """Take that a run which was due was started, or why it cannot be."""
        self._taken.remove(start)
        entry = self._entries.get(start.declaration.name)
        if entry is None or entry.is_paused:
            return
        entry.note = None
        if error is not None:
            run_id = start.slot.run_id
            entry.note = f"the run {run_id} could not be started: {error}"
            entry.active = [other for other in entry.active if other != run_id]

    def wake_at(self, now: float) -> float | None:
        """Return when there will be something to do, if nothing happens before."""
        times = [at for entry in self if (at := _next_look(entry, now)) is not None]
        return min(times, default=None)

    def unsettled(self, now: float) -> dict[str, tuple[str, ...]]:
        """Return, by schedule, the runs whose end something waits for."""
        return {
            entry.declaration.name: tuple(entry.active)
            for entry in self
            if entry.active
            and not entry.is_idle
            and (entry.is_full(now) or entry.must_be_counted)
        }

    def _whose(self, dag_id: str, run_id: str) -> Schedule | None:
        """Return the schedule that made a run: those of the configuration write their names into the run id."""
        for entry in self._entries.values():
            told = entry.declaration
            if (
                told.is_configured
                and told.dag_id == dag_id
                and run_id.endswith(f"__{told.name}")
            ):
                return entry
        own = self._entries.get(dag_id)
        return None if own is None or own.declaration.is_configured else own

    # -- for a later process

    def lighter(self) -> "Scheduler | None":
        """Return the same with less: of schedules that vanished, then what timetables say again; None: nothing is left."""
        known = self.to_json()
        gone = list(known["gone"].items())
        if gone:
            known["gone"] = dict(gone[(len(gone) + 1) // 2 :])
        elif any(row["coming"] for row in known["entries"]):
            for row in known["entries"]:
                row.update(coming=[], asked_at=None, error=None)
        else:
            return None
        return Scheduler.from_json(known)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        gone = {
            name: {"said": said, "last": asdict(last) if last else None}
            for name, (said, last) in self._gone.items()
        }
        return {
            VERSION_KEY: STATE_VERSION,
            "entries": [asdict(entry) for entry in self],
            "gone": gone,
            "taken": [asdict(start) for start in self._taken],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Scheduler":
        """Go on from what ``to_json`` of this or an older version wrote, or begin with nothing.

        Raises:
            NewerStateError: a newer version wrote it.
        """
        refuse_newer(data, STATE_VERSION, "the schedules")
        agenda = cls()
        for row in data.get("entries", ()):
            declaration = ScheduleDeclaration(**row["declaration"])
            entry = Schedule(**{**row, "declaration": declaration})
            entry.last = _slot(row["last"])
            entry.coming = [ScheduledRun(**slot) for slot in row["coming"]]
            agenda._entries[declaration.name] = entry
        for name, row in data.get("gone", {}).items():
            agenda._gone[name] = (row["said"], _slot(row["last"]))
        agenda._taken = [
            RunStart(
                ScheduleDeclaration(**row["declaration"]), ScheduledRun(**row["slot"])
            )
            for row in data.get("taken", ())
        ]
        return agenda


def _slot(row: dict[str, Any] | None) -> ScheduledRun | None:
    return ScheduledRun(**row) if row else None


def _order(slot: ScheduledRun) -> tuple[str, str]:
    return slot.start or slot.partition_date or slot.run_after, slot.run_after


def _timing(told: ScheduleDeclaration) -> ScheduleDeclaration:
    """Return what decides when it runs."""
    return replace(
        told,
        summary="",
        source="",
        remark="",
        conf={},
        is_paused=False,
        max_active_runs=0,
        max_failures=0,
    )


def _has_due(entry: Schedule, now: float) -> bool:
    return (
        not entry.is_idle
        and bool(entry.coming)
        and entry.coming[0].at <= now
        and not entry.is_stale(now)
    )


def _must_ask(entry: Schedule, now: float) -> bool:
    if entry.asked_at is None:
        return not (entry.declaration.is_strict and entry.active)
    if entry.coming:
        return entry.coming[0].at <= now and entry.is_stale(now)
    return now - entry.asked_at >= (_RETRY_S if entry.error else _ASK_AGAIN_S)


def _next_look(entry: Schedule, now: float) -> float | None:
    if entry.is_idle or entry.is_full(now):
        return None
    if entry.asked_at is None:
        return None if entry.declaration.is_strict and entry.active else now
    if entry.coming:
        at = entry.coming[0].at
        return at + CARRIED_LATE_S if entry.is_carried and at > now else at
    return entry.asked_at + (_RETRY_S if entry.error else _ASK_AGAIN_S)
