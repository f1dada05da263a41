"""State of the scheduler workflow: all schedules, how far each has come, and which runs are due now.

Pure: time is an argument, and the caller asks timetables what ``questions`` returns and records their answers.
A run that was foreseen is made when its time has come. One whose time was missed, because the appliance was down, is
made late with ``catchup``; without, the timetable is asked again, as Airflow does whenever it reads a DAG file.

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
"""How long a run waited for a Temporal Schedule of version 0.1 to ring."""
LATE_S = 30.0
"""After so long a run counts as missed: how old a file may be before Airflow reads it again."""
BATCH_RUNS = 50
"""Runs that a timetable is asked for at once when many are due."""
_ASK_AGAIN_S = 3600.0
"""A timetable without a next run may have one later."""
_RETRY_S = 60.0
_MOST_GONE = 10_000


@dataclass(frozen=True, slots=True)
class NextRunQuestion:
    """Asks the timetable of a schedule for the runs after ``last``."""

    name: str
    declaration: ScheduleDeclaration
    last: ScheduledRun | None


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run to start now."""

    declaration: ScheduleDeclaration
    slot: ScheduledRun


@dataclass(slots=True)
class Schedule:
    """One schedule and how far it has come. Written as JSON: no field is ever renamed."""

    declaration: ScheduleDeclaration
    said: bool | None = None
    """Whether a person paused (True) or resumed (False) it; None: neither."""
    note: str | None = None
    """Why it was paused, or why its latest run could not be started."""
    last: ScheduledRun | None = None
    """The latest run that was made."""
    coming: list[ScheduledRun] = field(default_factory=list)
    asked_at: float | None = None
    """When the timetable answered ``coming``; None: it has to be asked."""
    error: str | None = None
    """Why the timetable failed when it was asked last."""
    active: list[str] = field(default_factory=list)
    """Ids of its runs that have not ended; only if ``counts_runs``."""
    failures: int = 0
    """Runs that failed since the last one that succeeded."""
    is_carried: bool = False
    """Whether version 0.1 left the time of its runs to a Temporal Schedule; see ``set_carried``."""

    @property
    def is_paused(self) -> bool:
        """Whether it makes no runs."""
        return self.declaration.is_paused if self.said is None else self.said

    @property
    def is_idle(self) -> bool:
        """Whether it makes no runs until a person resumes it or repairs its DAG."""
        return self.is_paused or self.declaration.is_barred

    @property
    def counts_runs(self) -> bool:
        """Whether the number of its active runs and how they end make a difference."""
        declaration = self.declaration
        return (
            declaration.catchup or declaration.is_strict or declaration.max_failures > 0
        )

    @property
    def must_be_counted(self) -> bool:
        """Whether ends of runs have to be looked for now: they count, or ``active`` has grown long."""
        declaration = self.declaration
        return (
            declaration.max_failures > 0
            or len(self.active) > declaration.max_active_runs
        )

    def forget_coming(self) -> None:
        """Drop what the timetable answered, so that it is asked again."""
        self.coming, self.asked_at, self.error = [], None, None

    def is_stale(self, now: float) -> bool:
        """Whether the next run was missed, so that without ``catchup`` the timetable may not want it any more."""
        run = self.coming[0]
        return (
            not self.declaration.catchup
            and now - run.at > LATE_S
            and self.asked_at is not None
            and self.asked_at < run.at
        )

    def is_full(self, now: float) -> bool:
        """Whether its next run has to wait until an active one ends.

        A run on time is made in any case: it waits queued, where people see it.
        """
        declaration = self.declaration
        if declaration.is_strict:
            return bool(self.active)
        is_late = bool(self.coming) and now - self.coming[0].at > LATE_S
        return is_late and len(self.active) >= declaration.max_active_runs


class Scheduler:
    """All schedules. Record what happened, then ask what to do."""

    def __init__(self) -> None:
        """There are none yet."""
        self._schedules: dict[str, Schedule] = {}
        self._gone: dict[str, tuple[bool | None, ScheduledRun | None]] = {}
        """Name -> ``said`` and ``last`` of a schedule that was removed, should it come back."""
        self._unconfirmed: list[RunStart] = []
        """Runs that were due, until it is recorded whether they were started."""

    def __iter__(self) -> Iterator[Schedule]:
        """Give every schedule, by name."""
        for name in sorted(self._schedules):
            yield self._schedules[name]

    def find(self, name: str) -> Schedule | None:
        """Return the schedule of this name."""
        return self._schedules.get(name)

    # -- what happened

    def declare(self, declarations: Iterable[ScheduleDeclaration]) -> None:
        """Add schedules, or change those of the same names."""
        for declaration in declarations:
            schedule = self._schedules.get(declaration.name)
            if schedule is None:
                said, last = self._gone.pop(declaration.name, (None, None))
                self._schedules[declaration.name] = Schedule(
                    declaration, said=said, last=last
                )
                continue
            before, schedule.declaration = schedule.declaration, declaration
            if declaration.is_configured and declaration.is_paused != before.is_paused:
                schedule.said = None  # The file was edited after the person paused it.
            if _timing(before) != _timing(declaration):
                schedule.forget_coming()

    def remove(self, names: Iterable[str]) -> None:
        """Remove schedules; how far each had come is remembered."""
        for name in names:
            if (schedule := self._schedules.pop(name, None)) is not None:
                self._gone[name] = (schedule.said, schedule.last)
        while len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]

    def pause(self, name: str, note: str | None = None) -> None:
        """Make no more runs of a schedule."""
        schedule = self._schedules[name]
        schedule.said, schedule.note = True, note

    def resume(self, name: str) -> None:
        """Make runs again; those missed meanwhile follow ``catchup``."""
        schedule = self._schedules[name]
        if schedule.is_paused:
            schedule.forget_coming()
        schedule.said, schedule.note, schedule.failures = False, None, 0

    def record_answer(
        self,
        question: NextRunQuestion,
        runs: Sequence[ScheduledRun],
        error: str | None,
        now: float,
    ) -> None:
        """Record what a timetable answered at ``now``: its next runs, or why it failed."""
        schedule = self._schedules.get(question.name)
        if schedule is None or schedule.last != question.last:
            return
        if _timing(schedule.declaration) == _timing(question.declaration):
            schedule.coming, schedule.error, schedule.asked_at = list(runs), error, now

    def record_end(self, name: str, run_id: str, *, is_success: bool | None) -> None:
        """Record that a run of the schedule ``name`` ended; ``is_success`` None: unknown how, so it counts neither way."""
        schedule = self._schedules.get(name)
        if schedule is None or run_id not in schedule.active:
            return
        schedule.active.remove(run_id)
        if is_success is None:
            return
        schedule.failures = 0 if is_success else schedule.failures + 1
        most = schedule.declaration.max_failures
        if most and schedule.failures >= most and not schedule.is_paused:
            self.pause(name, f"its last {most} runs failed")

    def set_carried(self, names: Iterable[str]) -> None:
        """Record which schedules have a Temporal Schedule with times of its own: those of version 0.1, which rang.

        Kept so that histories of 0.1 replay, and called once with no names after an upgrade from it.
        """
        carried = frozenset(names)
        for name, schedule in self._schedules.items():
            schedule.is_carried = name in carried

    def record_backfilled(self, dag_id: str, run: ScheduledRun) -> None:
        """Record a run that a backfill made, which counts as one of the DAG's own schedule."""
        schedule = self._schedules.get(dag_id)
        if schedule is None or schedule.declaration.dag_id != dag_id:
            return
        _advance(schedule, run)

    def record_made(self, dag_id: str, run: ScheduledRun) -> None:
        """Record a run that an earlier scheduler made, found by its DAG and run id."""
        schedule = self._maker(dag_id, run.run_id)
        if schedule is None:
            return
        if schedule.counts_runs and run.run_id not in schedule.active:
            schedule.active.append(run.run_id)
        _advance(schedule, run)

    def record_unconfirmed(self, dag_id: str, run: ScheduledRun) -> None:
        """Record a run that was due in an earlier scheduler, which ended before it knew whether it was started."""
        schedule = self._maker(dag_id, run.run_id)
        if schedule is not None:
            self._unconfirmed.append(RunStart(schedule.declaration, run))

    def record_end_of_run(
        self, dag_id: str, run_id: str, *, is_success: bool | None
    ) -> None:
        """As ``record_end``, for a run found by its DAG and run id."""
        schedule = self._maker(dag_id, run_id)
        if schedule is not None:
            self.record_end(schedule.declaration.name, run_id, is_success=is_success)

    def record_start(self, start: RunStart, error: str | None) -> None:
        """Record that a run that was due was started, or why it cannot be."""
        self._unconfirmed.remove(start)
        schedule = self._schedules.get(start.declaration.name)
        if schedule is None or schedule.is_paused:
            return
        schedule.note = None
        if error is not None:
            run_id = start.slot.run_id
            schedule.note = f"the run {run_id} could not be started: {error}"
            schedule.active = [other for other in schedule.active if other != run_id]

    # -- what to do

    def questions(self, now: float) -> list[NextRunQuestion]:
        """Return what timetables have to be asked before more runs can be due."""
        return [
            NextRunQuestion(
                schedule.declaration.name, schedule.declaration, schedule.last
            )
            for schedule in self
            if not schedule.is_idle and _must_ask(schedule, now)
        ]

    def take_due(self, now: float) -> list[RunStart]:
        """Return the runs whose time has come, each once; ``record_start`` confirms them."""
        starts = []
        for schedule in self:
            while _has_due(schedule, now) and not schedule.is_full(now):
                run = schedule.coming.pop(0)
                schedule.last = run
                if schedule.counts_runs:
                    schedule.active.append(run.run_id)
                if not schedule.coming:
                    schedule.asked_at = None
                starts.append(RunStart(schedule.declaration, run))
        self._unconfirmed += starts
        return starts

    def unconfirmed(self) -> list[RunStart]:
        """Return the runs that were due and of which it is unknown whether they were started."""
        return list(self._unconfirmed)

    def wake_at(self, now: float) -> float | None:
        """Return when there will be something to do if nothing else happens; None: never."""
        times = (_next_look(schedule, now) for schedule in self)
        return min((at for at in times if at is not None), default=None)

    def awaited_runs(self, now: float) -> dict[str, tuple[str, ...]]:
        """Return schedule name -> ids of the active runs whose end it waits for."""
        return {
            schedule.declaration.name: tuple(schedule.active)
            for schedule in self
            if schedule.active
            and not schedule.is_idle
            and (schedule.is_full(now) or schedule.must_be_counted)
        }

    def _maker(self, dag_id: str, run_id: str) -> Schedule | None:
        """Return the schedule that made a run: those of appliance.yaml put their names into the run id."""
        for schedule in self._schedules.values():
            declaration = schedule.declaration
            if (
                declaration.is_configured
                and declaration.dag_id == dag_id
                and run_id.endswith(f"__{declaration.name}")
            ):
                return schedule
        own = self._schedules.get(dag_id)
        return None if own is None or own.declaration.is_configured else own

    # -- as JSON

    def lighter(self) -> "Scheduler | None":
        """Return a copy without half of the removed schedules, then without ``coming``; None: nothing can be left out."""
        state = self.to_json()
        gone = list(state["gone"].items())
        if gone:
            state["gone"] = dict(gone[(len(gone) + 1) // 2 :])
        elif any(row["coming"] for row in state["entries"]):
            for row in state["entries"]:
                row.update(coming=[], asked_at=None, error=None)
        else:
            return None
        return Scheduler.from_json(state)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        gone = {
            name: {"said": said, "last": asdict(last) if last else None}
            for name, (said, last) in self._gone.items()
        }
        return {
            VERSION_KEY: STATE_VERSION,
            "entries": [asdict(schedule) for schedule in self],
            "gone": gone,
            "taken": [asdict(start) for start in self._unconfirmed],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Scheduler":
        """Read what ``to_json`` of this or an older version wrote; ``{}``: there are no schedules.

        Raises:
            NewerStateError: a newer version wrote it.
        """
        refuse_newer(data, STATE_VERSION, "the schedules")
        scheduler = cls()
        for row in data.get("entries", ()):
            declaration = ScheduleDeclaration(**row["declaration"])
            schedule = Schedule(**{**row, "declaration": declaration})
            schedule.last = _run(row["last"])
            schedule.coming = [ScheduledRun(**run) for run in row["coming"]]
            scheduler._schedules[declaration.name] = schedule
        for name, row in data.get("gone", {}).items():
            scheduler._gone[name] = (row["said"], _run(row["last"]))
        scheduler._unconfirmed = [
            RunStart(
                ScheduleDeclaration(**row["declaration"]), ScheduledRun(**row["slot"])
            )
            for row in data.get("taken", ())
        ]
        return scheduler


def _run(row: dict[str, Any] | None) -> ScheduledRun | None:
    return ScheduledRun(**row) if row else None


def _advance(schedule: Schedule, run: ScheduledRun) -> None:
    """Let the next run of a schedule follow this one if it is later than its last."""
    if schedule.last is None or _order(run) > _order(schedule.last):
        schedule.last = run
        schedule.forget_coming()


def _order(run: ScheduledRun) -> tuple[str, str]:
    return run.start or run.partition_date or run.run_after, run.run_after


def _timing(declaration: ScheduleDeclaration) -> ScheduleDeclaration:
    """Return the part of a declaration that decides when it runs."""
    return replace(
        declaration,
        summary="",
        source="",
        remark="",
        conf={},
        is_paused=False,
        max_active_runs=0,
        max_failures=0,
    )


def _has_due(schedule: Schedule, now: float) -> bool:
    return (
        not schedule.is_idle
        and bool(schedule.coming)
        and schedule.coming[0].at <= now
        and not schedule.is_stale(now)
    )


def _must_ask(schedule: Schedule, now: float) -> bool:
    if schedule.asked_at is None:
        return not (schedule.declaration.is_strict and schedule.active)
    if schedule.coming:
        return schedule.coming[0].at <= now and schedule.is_stale(now)
    return now - schedule.asked_at >= (_RETRY_S if schedule.error else _ASK_AGAIN_S)


def _next_look(schedule: Schedule, now: float) -> float | None:
    if schedule.is_idle or schedule.is_full(now):
        return None
    if schedule.asked_at is None:
        is_full = schedule.declaration.is_strict and schedule.active
        return None if is_full else now
    if schedule.coming:
        at = schedule.coming[0].at
        return at + CARRIED_LATE_S if schedule.is_carried and at > now else at
    return schedule.asked_at + (_RETRY_S if schedule.error else _ASK_AGAIN_S)
