"""Airflow 3.3.2's own scheduler code, run over one scripted DAG run after another.

Real code takes every decision: ``SchedulerJobRunner._schedule_dag_run`` (timeout, ``DagRun.update_state``,
``schedule_tis``) and, with ``limits``, ``_executable_task_instances_to_queued`` (pools, limits, priorities);
``reports.py`` adds the Execution API's. Three things are fake: the clock (virtual), the execution of tasks
(scripted), the database (SQLite in memory).

Two things Airflow leaves open are fixed here: an operator's dependencies are a set ordered by object addresses, so the
last writer of a state differs between processes (they are asked in the order they are written in), and which of
two instances of equal priority and map index is queued first is left to the database (by task id, then DAG id).

Imports Airflow and its whole database schema: only for the process of ``serve.py``.
"""

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import airflow.models
from airflow import settings
from airflow._shared.timezones import timezone
from airflow.executors.executor_utils import ExecutorName
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.tasklog import LogTemplate
from airflow.serialization.definitions.baseoperator import DEFAULT_OPERATOR_DEPS
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.state import DagRunState, State, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import event, select

from tests.parity.dags import EPOCH
from tests.parity.reports import Action, Reports, changes, label

Script = Mapping[str, Sequence[Action]]
Trace = dict[str, Any]

JUST_AFTER = timedelta(microseconds=1)
MAX_PASSES = 5000
MAX_TIS_PER_QUERY = 16
"""Airflow's default, ``[scheduler] max_tis_per_query``."""

DEPENDENCY_ORDER = (
    "NotInRetryPeriodDep",
    "PrevDagrunDep",
    "TriggerRuleDep",
    "NotPreviouslySkippedDep",
    "MappedTaskUpstreamDep",
)

airflow.models.import_all_models()


QUEUEING_ORDER = re.compile(
    r"ORDER BY -\S+priority_weight\w*, \S+logical_date\w*, (\w+)\.map_index(?:_for_ordering)?\b"
)


def _break_ties(
    _connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any
) -> tuple[str, Any]:
    return QUEUEING_ORDER.sub(r"\g<0>, \1.task_id, \1.dag_id", sql), parameters


EMPTY_ALL_TABLES = "".join(
    f'DELETE FROM "{table.name}";'  # noqa: S608 - Airflow's own names
    for table in reversed(Base.metadata.sorted_tables)
)


class _OrderedDependencies(tuple[Any, ...]):
    """Answers ``set() | deps`` in ``get_failed_dep_statuses``, and keeps its order."""

    __slots__ = ()

    def __ror__(self, other: Iterable[Any]) -> list[Any]:
        return [*other, *self]


class _Executor:
    """Just enough of one for ``_executable_task_instances_to_queued``."""

    name = ExecutorName(module_path="oracle", alias="oracle")
    team_name = None
    slots_available = 1 << 30
    pre_assigns_external_executor_id = False
    job_id = None


class Clock:
    """Virtual time; replaces ``timezone.utcnow`` while a run is driven."""

    def __init__(self) -> None:
        self.now = EPOCH

    @contextmanager
    def installed(self) -> Iterator[None]:
        original, timezone.utcnow = timezone.utcnow, lambda: self.now
        try:
            yield
        finally:
            timezone.utcnow = original


class Oracle:
    """Creates the schema once; every run starts from emptied tables."""

    def __init__(self) -> None:
        Base.metadata.create_all(settings.engine)
        event.listen(settings.engine, "before_cursor_execute", _break_ties, retval=True)
        self.session = settings.Session()
        self.runner = SchedulerJobRunner(Job(), executors=[_Executor()])
        self.clock = Clock()

    def run(
        self, dag: Any, script: Script, *, batch: bool = True, limits: bool = False
    ) -> Trace:
        """Drive one run of an SDK ``DAG`` to its end.

        Args:
            dag: The DAG.
            script: Task id or ``task[index]`` -> what its n-th execution does (see ``reports.py``).
            batch: Whether all ends due at one instant precede the next pass.
            limits: Whether pools, limits and priorities hold.
        """
        self._empty_tables()
        with self.clock.installed():
            self.clock.now = EPOCH
            return _Run(self, dag, script, batch=batch, limits=limits).drive()

    def _empty_tables(self) -> None:
        self.session.rollback()
        self.session.expunge_all()
        connection = self.session.connection().connection
        connection.executescript(EMPTY_ALL_TABLES)
        self.session.commit()


def in_order(dag: Any) -> Any:
    """Return an SDK ``DAG`` as the scheduler has it, its dependencies asked in a fixed order."""
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    known = {type(dep).__name__: dep for dep in DEFAULT_OPERATOR_DEPS}
    for task in read.task_dict.values():
        task.deps = _OrderedDependencies(known[name] for name in DEPENDENCY_ORDER)
    return read


def dag_model(dag: Any) -> DagModel:
    """Return the row of a DAG that is on."""
    return DagModel(
        dag_id=dag.dag_id,
        bundle_name="oracle",
        is_stale=False,
        is_paused=False,
        owners="o",
        max_active_tasks=dag.max_active_tasks,
        max_active_runs=dag.max_active_runs,
        max_consecutive_failed_dag_runs=0,
        has_task_concurrency_limits=True,
        fail_fast=dag.fail_fast,
        timetable_type="",
        timetable_summary="",
        relative_fileloc="dag.py",
        fileloc="dag.py",
    )


class _Run:
    def __init__(
        self, oracle: Oracle, dag: Any, script: Script, *, batch: bool, limits: bool
    ) -> None:
        self.session, self.runner = oracle.session, oracle.runner
        self.clock = oracle.clock
        self.script, self.batch, self.limits = script, batch, limits
        self.dag = in_order(dag)
        self.attempts: dict[str, int] = {}
        self.heap: list[tuple[datetime, int, str, Any]] = []
        self.pushed = 0
        self.events: list[Trace] = []
        dag_bag = SimpleNamespace(get_dag_for_run=lambda **_: self.dag)
        self.runner.scheduler_dag_bag = dag_bag
        self.dag_run = self._create_run()
        self.reports = Reports(
            self.session, dag, self.dag, self.dag_run.run_id, dag_bag
        )

    # Set-up

    def _create_run(self) -> Any:
        session, dag = self.session, self.dag
        session.add_all(
            [
                DagBundleModel(name="oracle"),
                LogTemplate(filename="", elasticsearch_id=""),
                Pool(pool="default_pool", slots=128, include_deferred=False),
            ]
        )
        session.flush()
        session.add(dag_model(dag))
        session.add(self.runner.job)
        session.flush()
        session.add(
            DagVersion(dag_id=dag.dag_id, version_number=1, bundle_name="oracle")
        )
        session.flush()
        dag_run = dag.create_dagrun(
            run_id=DagRunType.MANUAL.generate_run_id(suffix="oracle"),
            logical_date=EPOCH,
            data_interval=(EPOCH, EPOCH),
            run_after=EPOCH,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            start_date=EPOCH,
            session=session,
        )
        session.commit()
        if dag.dagrun_timeout:
            self._at(EPOCH + dag.dagrun_timeout + JUST_AFTER, "timeout", None)
        return SimpleNamespace(
            key=dag_run.id, run_id=dag_run.run_id, type=type(dag_run)
        )

    # The loop

    def drive(self) -> Trace:
        is_stalled = False
        while self._settle():
            self._start_scheduled()
            if all(kind == "timeout" for _, _, kind, _ in self.heap):
                is_stalled = True  # only a timeout would end it
                break
            for kind, what in self._due():
                if kind == "finish":
                    self._finish(*what)
                elif kind == "trigger":
                    self.reports.fire_trigger(what)
        rows = self.reports.rows()
        return {
            "events": self.events,
            "tis": {key: state for key, (state, _) in rows.items()},
            "tries": {key: tries for key, (_, tries) in rows.items()},
            "dag_run": DagRunState(self._load_run().state).value,
            "stalled": is_stalled,
        }

    def _due(self) -> list[tuple[str, Any]]:
        when, _, kind, what = heapq.heappop(self.heap)
        due = [(kind, what)]
        while self.batch and self.heap and self.heap[0][0] == when:
            due.append(heapq.heappop(self.heap)[2:])
        self.clock.now = max(self.clock.now, when)
        return due

    def _settle(self) -> bool:
        """Make scheduler passes until one changes nothing; False once the run has ended."""
        after = self.reports.rows()
        for _ in range(MAX_PASSES):
            before = after
            ready, state = self._pass()
            after = self.reports.rows()
            changed = changes(before, after)
            if ready or changed:
                self._write({"ev": "pass", "ready": ready, "set": changed})
            if state in State.finished_dr_states:
                self._write({"ev": "dag_run", "state": str(state.value)})
                return False
            if not (ready or changed):
                return True
        raise RuntimeError(f"{MAX_PASSES} passes and no rest")

    def _pass(self) -> tuple[list[str], Any]:
        """Make one turn of the scheduler's loop, on a fresh view of the database."""
        self.session.commit()
        self.session.expunge_all()
        dag_run = self._load_run()
        ready: list[str] = []
        schedule_tis = dag_run.schedule_tis

        def note_and_schedule(tis: Iterable[Any], **options: Any) -> Any:
            tis = list(tis)
            ready.extend(label(ti.task_id, ti.map_index) for ti in tis)
            return schedule_tis(tis, **options)

        dag_run.schedule_tis = note_and_schedule
        self.runner._schedule_dag_run(dag_run, self.session)
        self.session.commit()
        return ready, dag_run.state

    def _start_scheduled(self) -> None:
        """SCHEDULED -> QUEUED -> RUNNING; what each start will do goes on the clock.

        Where a task's own limit holds some of the best back, others start at the scheduler's next turn only.
        """
        started: list[tuple[str, int]] = []
        while chosen := self._choose():
            started += [self._start(*one) for one in chosen]
            self.session.commit()
        if started:
            self._write({"ev": "start", "tries": started})

    def _start(self, ti_id: Any, task_id: str, map_index: int) -> tuple[str, int]:
        should_retry, try_number = self.reports.start(ti_id, self.clock.now)
        key = label(task_id, map_index)
        action = self._action(key, task_id)
        self._at(
            self.clock.now + timedelta(seconds=action.get("dur", 1.0)),
            "finish",
            (ti_id, task_id, map_index, action, should_retry),
        )
        return key, try_number

    def _choose(self) -> list[Any]:
        self.session.expunge_all()
        if self.limits:
            chosen = self.runner._executable_task_instances_to_queued(
                MAX_TIS_PER_QUERY, self.session
            )
            return [(ti.id, ti.task_id, ti.map_index) for ti in chosen]
        ti = TaskInstance
        scheduled = (
            select(ti.id, ti.task_id, ti.map_index)
            .where(ti.state == TaskInstanceState.SCHEDULED)
            .order_by(ti.task_id, ti.map_index)
        )
        return list(self.session.execute(scheduled).all())

    def _action(self, key: str, task_id: str) -> Action:
        self.attempts[key] = self.attempts.get(key, 0) + 1
        actions = self.script.get(key) or self.script.get(task_id) or [{}]
        return actions[min(self.attempts[key], len(actions)) - 1]

    def _finish(
        self,
        ti_id: Any,
        task_id: str,
        map_index: int,
        action: Action,
        should_retry: bool,
    ) -> None:
        event = self.reports.finish(
            ti_id, task_id, map_index, action, self.clock.now, should_retry=should_retry
        )
        if event is None:
            return
        delay = timedelta(seconds=action.get("delay", 10.0))
        match event["state"]:
            case "up_for_retry":
                wait = timedelta(seconds=event["retry_in"])
                self._at(self.clock.now + wait + JUST_AFTER, "wake", None)
            case "up_for_reschedule":
                self._at(self.clock.now + delay, "wake", None)
            case "deferred":
                trigger = self.reports.load(task_id, map_index).trigger_id
                self._at(self.clock.now + delay, "trigger", trigger)
            case _:
                pass
        self._write(event)

    def _at(self, when: datetime, kind: str, what: Any) -> None:
        self.pushed += 1
        heapq.heappush(self.heap, (when, self.pushed, kind, what))

    def _write(self, event: Trace) -> None:
        self.events.append({"t": (self.clock.now - EPOCH).total_seconds(), **event})

    def _load_run(self) -> Any:
        return self.session.get(self.dag_run.type, self.dag_run.key)
