"""What a try may learn about DAG runs and task instances: its own run's, nothing yet about others.

A question that other runs may bear on is refused rather than answered as if there were none; only
where Airflow's own empty answer is what a first run gets does the try get that.

Source: Airflow 3.3: ``api_fastapi/execution_api/routes/{task_instances,dag_runs}.py``.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from appliance.dagrun.states import FINISHED, RunState
from appliance.dagrun.tries import ActivityTaskInput
from appliance.taskrun.runview import InstanceRow, RunView
from appliance.taskrun.shapes import (
    Body,
    Handler,
    later,
    later_text,
    refusal,
    result,
)
from appliance.taskrun.startup import dag_run
from appliance.taskrun.xcoms import FRESH_S
from appliance.warm.frames import Reply

OTHER_RUNS = "questions about other DAG runs are"
TASK_GROUPS = "questions about the instances of a task group are"


class History:
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
            "GetPreviousDagRun": later(OTHER_RUNS),
            "GetPreviousTI": later(OTHER_RUNS),
            "GetDag": later("questions about a DAG at run time are"),
        }

    async def _ti_count(self, body: Body) -> Reply:
        if refused := self._elsewhere(body):
            return refused
        states = body["states"]
        wanted = {None if state == "null" else state for state in states or ()}
        count = sum(
            not states or row.state in wanted for row in await self._instances(body)
        )
        return result("TICount", count=count)

    async def _task_states(self, body: Body) -> Reply:
        if refused := self._elsewhere(body):
            return refused
        states = {
            row.task_id if row.map_index < 0 else f"{row.task_id}_{row.map_index}": (
                row.state
            )
            for row in await self._instances(body)
        }
        by_run = {self._task.run.run_id: states} if states else {}
        return result("TaskStatesResult", task_states=by_run)

    async def _breadcrumbs(self, body: Body) -> Reply:
        if not self._is_own(body):
            return refusal(later_text(OTHER_RUNS))
        crumbs = [
            {
                "task_id": row.task_id,
                "map_index": row.map_index,
                "state": row.state,
                "operator": None,
                "duration": row.duration_s,
            }
            for row in await self._instances(body)
            if row.state in FINISHED
        ]
        crumbs.sort(key=lambda crumb: (crumb["task_id"], crumb["map_index"]))
        return result("TaskBreadcrumbsResult", breadcrumbs=crumbs)

    async def _run_count(self, body: Body) -> Reply:
        if refused := self._elsewhere(body):
            return refused
        is_counted = not body["states"] or RunState.RUNNING in body["states"]
        return result("DRCount", count=int(is_counted))

    async def _dag_run(self, body: Body) -> Reply:
        if not self._is_own(body):
            return refusal(later_text(OTHER_RUNS))
        return result("DagRunResult", **dag_run(self._task, self._task.run.conf or {}))

    async def _dag_run_state(self, body: Body) -> Reply:
        if not self._is_own(body):
            return refusal(later_text(OTHER_RUNS))
        return result("DagRunStateResult", state=RunState.RUNNING.value)

    async def _previous_success(self, _body: Body) -> Reply:
        return result("PrevSuccessfulDagRunResult")

    async def _first_start(self, _body: Body) -> Reply:
        return result("TaskRescheduleStartDate", start_date=self._task.first_start)

    async def _inlets_and_outlets(self, _body: Body) -> Reply:
        return result("InactiveAssetsResult", inactive_assets=[])

    async def _instances(self, body: Body) -> list[InstanceRow]:
        task_ids = tuple(body["task_ids"]) if body.get("task_ids") else None
        heard = self._heard.get(task_ids)
        if heard is None or self._clock() - heard[0] > FRESH_S:
            heard = (self._clock(), await self._run.instances(task_ids))
            self._heard[task_ids] = heard
        map_index = body.get("map_index")
        is_any = map_index is None or map_index < 0
        return [row for row in heard[1] if is_any or row.map_index == map_index]

    def _is_own(self, body: Body) -> bool:
        run = self._task.run
        return (body["dag_id"], body["run_id"]) == (run.dag_id, run.run_id)

    def _elsewhere(self, body: Body) -> Reply | None:
        """Refuse a question unless it can be about nothing but this run."""
        run = self._task.run
        run_ids = set(body["run_ids"] or ())
        dates = {_same_moment(date) for date in body["logical_dates"] or ()}
        is_own = body["dag_id"] == run.dag_id and (
            run_ids == {run.run_id}
            or (not run_ids and dates == {_same_moment(run.logical_date)})
        )
        if not is_own:
            return refusal(later_text(OTHER_RUNS))
        if body.get("task_group_id"):
            return refusal(later_text(TASK_GROUPS))
        return None


def _same_moment(moment: object) -> object:
    return datetime.fromisoformat(moment) if isinstance(moment, str) else moment
