"""Airflow 3.3.2's own scheduler, asked which runs it makes of a schedule in the course of simulated time.

``SchedulerJobRunner._create_dag_runs`` makes the runs and ``DagModel.calculate_dagrun_date_fields`` decides what comes
next, on a database. What reads DAG files in Airflow is stood in for by one call of the latter at the start, when the
DAG is unpaused, when Airflow comes back, and before a run is made late. Only for the process of ``serve.py``.
"""

import heapq
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow._shared.timezones import timezone
from airflow.dag_processing import collection
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.tasklog import LogTemplate
from airflow.serialization.serialized_objects import (
    DagSerialization,
    LazyDeserializedDAG,
)
from airflow.timetables import interval, trigger
from airflow.utils.state import DagRunState
from sqlalchemy import select

from tests.parity.scheduler import Oracle, dag_model

MOST_RUNS = 2000


@contextmanager
def at(now: datetime) -> Iterator[None]:
    """Make it this time for whatever of Airflow asks."""
    import time

    modules: tuple[Any, ...] = (timezone, interval, trigger)
    kept = [module.utcnow for module in modules]
    trigger.time = SimpleNamespace(time=now.timestamp)
    for module in modules:
        module.utcnow = lambda: now
    try:
        yield
    finally:
        trigger.time = time
        for module, original in zip(modules, kept, strict=True):
            module.utcnow = original


def dag_of(source: str) -> Any:
    """Return the DAG that a text of Python calls ``dag``."""
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - the tests' own text
    return names["dag"]


def runs_of(oracle: Oracle, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the runs that Airflow makes, in order; ``request`` as ``tests/schedules/timeline.py`` has it."""
    oracle._empty_tables()
    return _Simulation(oracle, request).drive()


class _Simulation:
    def __init__(self, oracle: Oracle, request: Mapping[str, Any]) -> None:
        self.session, self.runner = oracle.session, oracle.runner
        self.dag = DagSerialization.from_dict(
            DagSerialization.to_dict(dag_of(request["source"]))
        )
        self.lazy = LazyDeserializedDAG.from_dag(self.dag)
        self.runner._get_current_dag = lambda **_: self.dag
        self.now = datetime.fromisoformat(request["begin"])
        self.end = datetime.fromisoformat(request["end"])
        self.run_s = request["run_s"]
        self.events = [
            (datetime.fromisoformat(time), what) for time, what in request["events"]
        ]
        self.ends: list[datetime] = []
        self.is_up, self.is_paused = True, False
        session = self.session
        session.add_all(
            [
                DagBundleModel(name="oracle"),
                LogTemplate(filename="", elasticsearch_id=""),
            ]
        )
        session.flush()
        self.model = dag_model(self.dag)
        self.model.exceeds_max_non_backfill = False
        self.model.timetable_partitioned = self.dag.timetable.partitioned
        session.add_all([self.model, self.runner.job])
        session.flush()
        session.add(
            DagVersion(dag_id=self.dag.dag_id, version_number=1, bundle_name="oracle")
        )
        session.flush()

    def drive(self) -> list[dict[str, Any]]:
        self._read()
        while True:
            self._make_runs()
            following = self._next_time()
            if following is None or following > self.end:
                break
            # Not pendulum's: adding to one with a fixed offset loses the offset.
            following = datetime.fromtimestamp(following.timestamp(), UTC)
            self.now = max(self.now, following)
            self._pass_events()
            if self.is_up:
                self._end_runs()
        order = DagRun.id
        found = self.session.scalars(select(DagRun).order_by(order)).all()
        return [_row(run) for run in found]

    def _next_time(self) -> datetime | None:
        times = [time for time, _ in self.events[:1]]
        if self.is_up:
            times += self.ends[:1]
            if self._can_make():
                times.append(self.model.next_dagrun_create_after)
        return min(times, default=None)

    def _can_make(self) -> bool:
        model = self.model
        return (
            self.is_up
            and not self.is_paused
            and not model.exceeds_max_non_backfill
            and model.next_dagrun_create_after is not None
        )

    def _pass_events(self) -> None:
        while self.events and self.events[0][0] <= self.now:
            _, what = self.events.pop(0)
            self.is_up = {"down": False, "up": True}.get(what, self.is_up)
            self.is_paused = {"pause": True, "unpause": False}.get(what, self.is_paused)
            if what in ("up", "unpause"):
                if self.is_up:
                    self._end_runs()
                self._read()

    def _end_runs(self) -> None:
        ended = False
        while self.ends and self.ends[0] <= self.now:
            heapq.heappop(self.ends)
            ended = True
            run = self.session.scalars(
                select(DagRun)
                .where(DagRun.state == DagRunState.QUEUED)
                .order_by(DagRun.id)
                .limit(1)
            ).one()
            run.state = DagRunState.SUCCESS
            self.session.flush()
            self.runner._set_exceeds_max_active_runs(
                dag_model=self.model, session=self.session
            )
        if ended:
            self._read()

    def _read(self) -> None:
        """Do what Airflow does after it has read the DAG file, which it does all the time."""
        with at(self.now):
            info = collection._RunInfo.calculate(self.lazy, session=self.session)
            self.model.calculate_dagrun_date_fields(
                self.dag, reference_run=info.latest_run
            )
        self.session.flush()

    def _make_runs(self) -> None:
        for _ in range(MOST_RUNS):
            if not (
                self._can_make() and self.model.next_dagrun_create_after <= self.now
            ):
                return
            with at(self.now):
                self.runner._create_dag_runs([self.model], self.session)
            self.session.flush()
            heapq.heappush(self.ends, self.now + timedelta(seconds=self.run_s))
        raise RuntimeError(f"more than {MOST_RUNS} runs at once")


def _row(run: Any) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "run_type": str(run.run_type),
        "run_after": _iso(run.run_after),
        "logical_date": _iso(run.logical_date),
        "start": _iso(run.data_interval_start),
        "end": _iso(run.data_interval_end),
        "partition_key": run.partition_key,
    }


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()
