"""Answers to a task's requests about DAG runs and task instances, of its own run and of others.

Of a run that goes on it is told how it stands now; of one that has ended, what is remembered of it. A run nobody
remembers is no run, as in Airflow after ``airflow db clean``.

Source: Airflow 3.3: ``api_fastapi/execution_api/routes/{task_instances,dag_runs}.py``.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from appliance.dagrun.attempt import ActivityTaskInput
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.states import FINISHED, RunState
from appliance.errors import DagError
from appliance.forkserver.frames import Reply
from appliance.taskrun.protocols import InstanceRow, OtherRun, RunView
from appliance.taskrun.responses import Body, Handler, rejected, result
from appliance.taskrun.startup import BUNDLE, dag_run
from appliance.taskrun.xcoms import FRESH_S

_FEW = 10
"""Earlier runs that are looked at first for a task instance; all of them if it is in none."""


class RunQueries:
    """The answers about runs and task instances."""

    def __init__(
        self, task: ActivityTaskInput, run: RunView, *, clock: Callable[[], float]
    ) -> None:
        """Answer for the try ``task``. ``clock`` counts seconds from anywhere."""
        self._task = task
        self._run = run
        self._clock = clock
        self._heard: dict[
            tuple[str, ...] | None, tuple[float, Sequence[InstanceRow]]
        ] = {}

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        return {
            "GetTICount": self._ti_count,
            "GetTaskStates": self._task_states,
            "GetTaskBreadcrumbs": self._breadcrumbs,
            "GetDRCount": self._run_count,
            "GetDagRun": self._dag_run,
            "GetDagRunState": self._dag_run_state,
            "GetPrevSuccessfulDagRun": self._previous_success,
            "GetTaskRescheduleStartDate": self._first_start,
            "ValidateInletsAndOutlets": self._inlets_and_outlets,
            "GetPreviousDagRun": self._previous_run,
            "GetPreviousTI": self._previous_instance,
            "GetDag": self._dag,
            "FindTasks": self._tasks,
        }

    async def _ti_count(self, body: Body) -> Reply:
        try:
            by_run = await self._instances(body)
        except DagError as err:
            return _unknown(str(err))
        states = body["states"]
        wanted = {None if state == "null" else state for state in states or ()}
        count = sum(
            not states or row.state in wanted
            for rows in by_run.values()
            for row in rows
        )
        return result("TICount", count=count)

    async def _task_states(self, body: Body) -> Reply:
        try:
            by_run = await self._instances(body)
        except DagError as err:
            return _unknown(str(err))
        states = {
            run_id: {
                row.task_id
                if row.map_index < 0
                else f"{row.task_id}_{row.map_index}": row.state
                for row in rows
            }
            for run_id, rows in by_run.items()
            if rows
        }
        return result("TaskStatesResult", task_states=states)

    async def _breadcrumbs(self, body: Body) -> Reply:
        question = {"dag_id": body["dag_id"], "run_ids": [body["run_id"]]}
        by_run = await self._instances(question)
        crumbs = [
            {
                "task_id": row.task_id,
                "map_index": row.map_index,
                "state": row.state,
                "operator": None,
                "duration": row.duration_s,
            }
            for rows in by_run.values()
            for row in rows
            if row.state in FINISHED
        ]
        crumbs.sort(key=lambda crumb: (crumb["task_id"], crumb["map_index"]))
        return result("TaskBreadcrumbsResult", breadcrumbs=crumbs)

    async def _run_count(self, body: Body) -> Reply:
        states = tuple(body["states"]) if body["states"] else None
        if self._is_about_own(body):
            is_counted = states is None or RunState.RUNNING in states
            return result("DRCount", count=int(is_counted))
        found = await self._find(body, states=states)
        return result("DRCount", count=len(found))

    async def _dag_run(self, body: Body) -> Reply:
        if self._is_own(body):
            own = dag_run(self._task, self._task.run.conf or {})
            return result("DagRunResult", **own)
        run = await self._one(body)
        if run is None:
            return _no_run(body)
        return result("DagRunResult", **_written(body["dag_id"], run.card))

    async def _dag_run_state(self, body: Body) -> Reply:
        if self._is_own(body):
            return result("DagRunStateResult", state=RunState.RUNNING.value)
        run = await self._one(body)
        if run is None:
            return _no_run(body)
        return result("DagRunStateResult", state=run.card.state.value)

    async def _previous_success(self, _body: Body) -> Reply:
        run = self._task.run
        if run.logical_date is None:
            return result("PrevSuccessfulDagRunResult")
        question = RunQuery(
            before=_utc(run.logical_date), states=(RunState.SUCCESS,), most=1
        )
        for found in await self._run.others.find(run.dag_id, question):
            names = ("data_interval_start", "data_interval_end", "start_date")
            known = {name: getattr(found.card, name) for name in (*names, "end_date")}
            return result("PrevSuccessfulDagRunResult", **known)
        return result("PrevSuccessfulDagRunResult")

    async def _previous_run(self, body: Body) -> Reply:
        states = (body["state"],) if body.get("state") else None
        question = RunQuery(before=_utc(body["logical_date"]), states=states, most=1)
        for found in await self._run.others.find(body["dag_id"], question):
            written = _written(body["dag_id"], found.card)
            return result("PreviousDagRunResult", dag_run=written)
        return result("PreviousDagRunResult", dag_run=None)

    async def _previous_instance(self, body: Body) -> Reply:
        date = body.get("logical_date")
        before = _utc(date) if date else None
        for most in (_FEW, None):
            question = RunQuery(
                before=before, is_dated=True, most=most, with_tasks=True
            )
            found = list(await self._run.others.find(body["dag_id"], question))
            found.sort(key=lambda run: run.card.logical_date or "", reverse=True)
            for run in found:
                for row in await run.instances():
                    if _is_the_one(row, body):
                        known = _instance(body["dag_id"], run.card, row)
                        return result("PreviousTIResult", task_instance=known)
            if len(found) < _FEW:
                break
        return result("PreviousTIResult", task_instance=None)

    async def _dag(self, body: Body) -> Reply:
        try:
            seen = await self._run.others.dag(body["dag_id"])
        except DagError as err:
            return _unknown(str(err))
        return result(
            "DagResult",
            dag_id=body["dag_id"],
            is_paused=seen.is_paused,
            bundle_name=BUNDLE,
            bundle_version=None,
            relative_fileloc=None,
            owners=", ".join(seen.owners),
            tags=list(seen.tags),
            next_dagrun=seen.next_run,
        )

    async def _tasks(self, body: Body) -> Reply:
        """Answer our own question (``forkserver.airflow_internals.execution``), as one for an XCom of Airflow's is answered."""
        try:
            tasks = await self._run.others.tasks(body["dag_id"])
            groups = await self._run.others.groups(body["dag_id"])
        except DagError as err:
            return _unknown(str(err))
        found = {"tasks": list(tasks), "groups": list(groups)}
        return result("XComResult", key="tasks", value=found)

    async def _first_start(self, _body: Body) -> Reply:
        return result("TaskRescheduleStartDate", start_date=self._task.first_start)

    async def _inlets_and_outlets(self, _body: Body) -> Reply:
        return result("InactiveAssetsResult", inactive_assets=[])

    async def _instances(self, body: Body) -> dict[str, Sequence[InstanceRow]]:
        """Return the instances a question is about, by run id.

        Raises:
            DagError: It is about a task group there is not.
        """
        task_ids = await self._task_ids(body)
        map_index = body.get("map_index")
        is_any = map_index is None or map_index < 0
        if self._is_about_own(body):
            found = {self._task.run.run_id: await self._own_instances(task_ids)}
        else:
            found = {
                run.card.run_id: await run.instances()
                for run in await self._find(body, with_tasks=True)
            }
        return {
            run_id: [
                row
                for row in rows
                if (task_ids is None or row.task_id in task_ids)
                and (is_any or row.map_index == map_index)
            ]
            for run_id, rows in found.items()
        }

    async def _task_ids(self, body: Body) -> tuple[str, ...] | None:
        task_ids = tuple(body["task_ids"]) if body.get("task_ids") else None
        group = body.get("task_group_id")
        if not group:
            return task_ids
        groups = await self._run.others.groups(body["dag_id"])
        if group not in groups:
            raise DagError(f"Task group {group} not found in DAG {body['dag_id']}")
        return (*(task_ids or ()), *groups[group])

    async def _own_instances(
        self, task_ids: tuple[str, ...] | None
    ) -> Sequence[InstanceRow]:
        heard = self._heard.get(task_ids)
        if heard is None or self._clock() - heard[0] > FRESH_S:
            heard = (self._clock(), await self._run.instances(task_ids))
            self._heard[task_ids] = heard
        return heard[1]

    async def _find(
        self,
        body: Body,
        *,
        states: tuple[str, ...] | None = None,
        with_tasks: bool = False,
    ) -> Sequence[OtherRun]:
        question = RunQuery(
            run_ids=_tuple(body.get("run_ids")),
            logical_dates=_tuple(map(_utc, body.get("logical_dates") or ())),
            states=states,
            with_tasks=with_tasks,
        )
        return await self._run.others.find(body["dag_id"], question)

    async def _one(self, body: Body) -> OtherRun | None:
        question = RunQuery(run_ids=(body["run_id"],))
        found = await self._run.others.find(body["dag_id"], question)
        return found[0] if found else None

    def _is_own(self, body: Body) -> bool:
        run = self._task.run
        return (body["dag_id"], body["run_id"]) == (run.dag_id, run.run_id)

    def _is_about_own(self, body: Body) -> bool:
        """Tell whether a question is about nothing but this run, by its id."""
        run = self._task.run
        return body["dag_id"] == run.dag_id and (
            set(body.get("run_ids") or ()) == {run.run_id}
        )


def _tuple(values: Iterable[str] | None) -> tuple[str, ...] | None:
    return tuple(values or ()) or None


def _utc(moment: Any) -> str:
    """Write a moment as it is in a run's card."""
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return str(when.astimezone(UTC).isoformat())


def _written(dag_id: str, card: RunRecord) -> dict[str, Any]:
    """Return a run as the SDK's ``DagRun`` model wants it."""
    return {
        "dag_id": dag_id,
        "run_id": card.run_id,
        "run_type": card.run_type,
        "state": card.state.value,
        "logical_date": card.logical_date,
        "data_interval_start": card.data_interval_start,
        "data_interval_end": card.data_interval_end,
        "run_after": card.run_after,
        "start_date": card.start_date,
        "end_date": card.end_date,
        "conf": card.conf,
        "triggering_user_name": card.triggering_user,
        "consumed_asset_events": [],
        "partition_key": None,
    }


def _instance(dag_id: str, card: RunRecord, row: InstanceRow) -> dict[str, Any]:
    """Return a task instance as the SDK's ``PreviousTIResponse`` model wants it."""
    return {
        "task_id": row.task_id,
        "dag_id": dag_id,
        "run_id": card.run_id,
        "logical_date": card.logical_date,
        "start_date": row.start_date,
        "end_date": row.end_date,
        "state": row.state,
        "try_number": row.try_number,
        "map_index": row.map_index,
        "duration": row.duration_s,
    }


def _is_the_one(row: InstanceRow, body: Body) -> bool:
    wanted = (body["task_id"], body.get("map_index", -1))
    return (row.task_id, row.map_index) == wanted and (
        not body.get("state") or row.state == body["state"]
    )


def _unknown(message: str) -> Reply:
    return rejected(message, status=404, reason="not_found")


def _no_run(body: Body) -> Reply:
    return _unknown(
        f"Dag run with dag_id '{body['dag_id']}' and run_id '{body['run_id']}' was not found"
    )
