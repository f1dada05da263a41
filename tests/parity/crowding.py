"""Airflow 3.3.2's own scheduler code over several runs at once. Imports Airflow: only for the process of ``serve.py``.

One turn of its loop is ``_start_queued_dagruns``, then ``_schedule_dag_run`` for every running run until that changes
nothing, then ``_executable_task_instances_to_queued`` until that finds nobody; turns are made until nothing changes.
Everything that ends at one instant ends before the next turn.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.tasklog import LogTemplate
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select

from appliance.dagfile.plan_builder import project
from tests.parity.dags import EPOCH, build_dag
from tests.parity.reports import Reports, label
from tests.parity.scheduler import (
    JUST_AFTER,
    MAX_PASSES,
    Oracle,
    dag_model,
    in_order,
)

EVERYTHING = 1 << 20
"""How many instances one turn may look at: with Airflow's 16 the others are looked at in the next."""

Rows = dict[tuple[str, str, int], tuple[str | None, int]]


def answer(oracle: Oracle, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return what happens in a case of ``crowds.py``, and what else is needed to play it."""
    oracle._empty_tables()
    with oracle.clock.installed():
        oracle.clock.now = EPOCH
        crowd = _Crowd(oracle, case)
        serialized = [DagSerialization.to_dict(dag) for dag in crowd.sdk_dags]
        days = (timedelta(days=run["day"]) for run in case["runs"])
        return {
            "plans": [project(dag) for dag in serialized],
            "dates": [(EPOCH + day).isoformat() for day in days],
            "trace": crowd.drive(),
        }


class _Crowd:
    def __init__(self, oracle: Oracle, case: Mapping[str, Any]) -> None:
        self.session, self.runner = oracle.session, oracle.runner
        self.clock, self.case = oracle.clock, case
        self.sdk_dags = [build_dag(spec) for spec in case["dags"]]
        self.dags = [in_order(dag) for dag in self.sdk_dags]
        known = {dag.dag_id: dag for dag in self.dags}
        self.dag_bag = SimpleNamespace(
            get_dag_for_run=lambda dag_run, **_: known[dag_run.dag_id]
        )
        self.runner.scheduler_dag_bag = self.dag_bag
        self.scripts = {run["run_id"]: run["script"] for run in case["runs"]}
        self.reports: dict[str, Reports] = {}
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.heap: list[tuple[datetime, str, str, str, int, Any]] = []
        self.pushed = 0
        self.events: list[list[Any]] = []
        self._create_all()

    def _create_all(self) -> None:
        session = self.session
        pools = {"default_pool": {"slots": 128, "include_deferred": False}}
        pools |= self.case["pools"]
        session.add_all(
            [
                DagBundleModel(name="oracle"),
                LogTemplate(filename="", elasticsearch_id=""),
                *(Pool(pool=name, **facts) for name, facts in pools.items()),
            ]
        )
        session.flush()
        session.add_all([dag_model(dag) for dag in self.dags])
        session.add(self.runner.job)
        session.flush()
        for dag in self.dags:
            version = DagVersion(
                dag_id=dag.dag_id, version_number=1, bundle_name="oracle"
            )
            session.add(version)
        session.commit()
        for run in self.case["runs"]:
            when = EPOCH + timedelta(seconds=run["at"])
            self._at(when, "begin", run["run_id"], "", run)

    def drive(self) -> dict[str, Any]:
        while self.heap:
            when = self.heap[0][0]
            self.clock.now = max(self.clock.now, when)
            while self.heap and self.heap[0][0] == when:
                _, kind, _, _, _, what = heapq.heappop(self.heap)
                if kind == "begin":
                    self._create(what)
                elif kind == "finish":
                    self._finish(*what)
                elif kind == "trigger":
                    self._fire(*what)
            is_first = True
            while self._turn(is_first=is_first):
                is_first = False
        return {
            "events": self.events,
            "runs": self._run_states(),
            "tis": [
                [run_id, label(task_id, index), state, tries]
                for (run_id, task_id, index), (state, tries) in self._rows().items()
            ],
        }

    def _at(self, when: datetime, kind: str, run_id: str, name: str, what: Any) -> None:
        self.pushed += 1
        heapq.heappush(self.heap, (when, kind, run_id, name, self.pushed, what))

    def _create(self, run: Mapping[str, Any]) -> None:
        date = EPOCH + timedelta(days=run["day"])
        number = run["dag"]
        self.dags[number].create_dagrun(
            run_id=run["run_id"],
            logical_date=date,
            data_interval=(date, date),
            run_after=date,
            run_type=DagRunType(run["type"]),
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.QUEUED,
            session=self.session,
        )
        self.session.commit()
        self.reports[run["run_id"]] = Reports(
            self.session,
            self.sdk_dags[number],
            self.dags[number],
            run["run_id"],
            self.dag_bag,
        )

    # One turn of the scheduler

    def _turn(self, *, is_first: bool) -> bool:
        """Make one turn; tell whether it changed anything. The turn before has started all it could."""
        self._refresh()
        began = self._run_states()
        self.runner._start_queued_dagruns(self.session)
        self._refresh()
        has_begun = self._note_runs(began)
        has_passed = self._settle()
        if not (is_first or has_begun or has_passed):
            return False
        return self._start_scheduled() or has_begun or has_passed

    def _refresh(self) -> None:
        self.session.commit()
        self.session.expunge_all()

    def _settle(self) -> bool:
        for n in range(MAX_PASSES):
            runs, rows = self._run_states(), self._rows()
            for run in list(DagRun.get_running_dag_runs_to_examine(self.session)):
                self.runner._schedule_dag_run(run, self.session)
            self._refresh()
            if not self._note_runs(runs) and self._rows() == rows:
                return n > 0
        raise RuntimeError(f"{MAX_PASSES} passes and no rest")

    def _note_runs(self, before: Mapping[str, str]) -> bool:
        changed = {k: v for k, v in self._run_states().items() if before[k] != v}
        for run_id, state in changed.items():
            self._write("run", run_id, state)
        return bool(changed)

    def _start_scheduled(self) -> bool:
        has_started = False
        while chosen := self.runner._executable_task_instances_to_queued(
            EVERYTHING, self.session
        ):
            found = [(ti.run_id, ti.id, ti.task_id, ti.map_index) for ti in chosen]
            for one in found:
                self._start(*one)
            self._refresh()
            has_started = True
        return has_started

    def _start(self, run_id: str, ti_id: Any, task_id: str, index: int) -> None:
        now = self.clock.now
        should_retry, try_number = self.reports[run_id].start(ti_id, now)
        name = label(task_id, index)
        self.attempts[run_id, name] += 1
        actions = self.scripts[run_id].get(task_id) or [{}]
        action = actions[min(self.attempts[run_id, name], len(actions)) - 1]
        what = (run_id, ti_id, task_id, index, action, should_retry)
        ends = now + timedelta(seconds=action.get("dur", 1))
        self._at(ends, "finish", run_id, name, what)
        self._write("start", run_id, name, try_number)

    # What ends

    def _finish(
        self,
        run_id: str,
        ti_id: Any,
        task_id: str,
        index: int,
        action: Mapping[str, Any],
        should_retry: bool,
    ) -> None:
        reports, now = self.reports[run_id], self.clock.now
        event = reports.finish(
            ti_id, task_id, index, action, now, should_retry=should_retry
        )
        self._refresh()
        if event is None:
            return
        name = label(task_id, index)
        delay = timedelta(seconds=action.get("delay", 10))
        match event["state"]:
            case "up_for_retry":
                wait = timedelta(seconds=event["retry_in"]) + JUST_AFTER
                self._at(now + wait, "wake", run_id, name, None)
            case "up_for_reschedule":
                self._at(now + delay, "wake", run_id, name, None)
            case "deferred":
                self._at(now + delay, "trigger", run_id, name, (run_id, task_id, index))
            case _:
                pass

    def _fire(self, run_id: str, task_id: str, index: int) -> None:
        reports = self.reports[run_id]
        trigger_id = reports.load(task_id, index).trigger_id
        if trigger_id is not None:
            reports.fire_trigger(trigger_id)

    # What is seen

    def _write(self, *event: Any) -> None:
        self.events.append([(self.clock.now - EPOCH).total_seconds(), *event])

    def _run_states(self) -> dict[str, str]:
        rows = self.session.execute(select(DagRun.run_id, DagRun.state))
        return {run_id: str(DagRunState(state).value) for run_id, state in rows}

    def _rows(self) -> Rows:
        ti = TaskInstance
        asked = select(ti.run_id, ti.task_id, ti.map_index, ti.state, ti.try_number)
        return {
            (run_id, task_id, index): (state and str(state), tries)
            for run_id, task_id, index, state, tries in self.session.execute(asked)
        }
