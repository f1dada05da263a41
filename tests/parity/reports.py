"""What a worker would send to the Execution API, by script, against Airflow's own route functions.

Action: {"do": success|fail|fail_now|skip|remove|reschedule|defer|branch|short_circuit, "value": any, "follow": [ids],
         "direct": bool, "delay": s, "dur": s, "retry_delay": s}

The n-th execution of an instance (retries, pokes and resumes included) takes the n-th action, the last one
repeats, success is the default. What the task runner does itself before it reports is mirrored, not run.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow.api_fastapi.execution_api.datamodels import taskinstance as payloads
from airflow.api_fastapi.execution_api.routes import task_instances as api
from airflow.api_fastapi.execution_api.routes import xcoms
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.providers.standard.operators.branch import BranchMixIn
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.triggers.base import TriggerEvent
from airflow.utils.state import TaskInstanceState
from fastapi import HTTPException
from sqlalchemy import select, text, update

Action = Mapping[str, Any]
Rows = dict[str, tuple[str | None, int]]

_SUCCEEDS = ("success", "branch", "short_circuit")
_TERMINAL = {"skip": "skipped", "remove": "removed"}


def label(task_id: str, map_index: int) -> str:
    """Write an instance the way traces name it."""
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


ROWS = text(
    "SELECT task_id, map_index, state, try_number FROM task_instance "
    "WHERE run_id = :run_id ORDER BY task_id, map_index"
)


def changes(before: Rows, after: Rows) -> dict[str, str | None]:
    """Return new states other than SCHEDULED; a vanished instance has been "expanded"."""
    found: dict[str, str | None] = {
        key: "expanded" for key in before if key not in after
    }
    for key, (state, _) in after.items():
        if state not in (before.get(key, (None, 0))[0], "scheduled"):
            found[key] = state
    return found


class _TaskError(Exception):
    """The scripted task fails inside the task runner; it may be retried."""


class Reports:
    """The worker's side of one run."""

    def __init__(
        self, session: Any, sdk_dag: Any, dag: Any, run_id: str, dag_bag: Any
    ) -> None:
        self.session = session
        self.sdk_dag = sdk_dag
        self.dag = dag
        self.run_id = run_id
        self.dag_bag = dag_bag

    def rows(self) -> Rows:
        """Return (state, try number) of every instance."""
        rows = self.session.execute(ROWS, {"run_id": self.run_id})
        return {
            label(task_id, index): (state, tries)
            for task_id, index, state, tries in rows
        }

    def load(self, task_id: str, map_index: int) -> Any:
        found = select(TaskInstance).filter_by(
            run_id=self.run_id, task_id=task_id, map_index=map_index
        )
        return self.session.scalars(found).one()

    def start(self, ti_id: Any, now: datetime) -> tuple[bool, int]:
        """Start an instance; return whether a failure is retried, and the try number."""
        ti = TaskInstance
        self.session.execute(
            update(ti).where(ti.id == ti_id).values(state=TaskInstanceState.QUEUED)
        )
        self.session.commit()
        context = api.ti_run(
            ti_id,
            payloads.TIEnterRunningPayload(
                state="running", hostname="h", unixname="u", pid=1, start_date=now
            ),
            response=None,
            session=self.session,
            dag_bag=self.dag_bag,
            token=SimpleNamespace(claims=SimpleNamespace(scope="execution")),
        )
        tries = self.session.scalar(select(ti.try_number).where(ti.id == ti_id))
        return bool(context.should_retry), tries

    def finish(
        self,
        ti_id: Any,
        task_id: str,
        map_index: int,
        action: Action,
        now: datetime,
        *,
        should_retry: bool,
    ) -> dict[str, Any] | None:
        """End an execution as scripted; None if Airflow has ended it before."""
        self.session.expunge_all()
        key = label(task_id, map_index)
        before = self.rows()
        if before.get(key, (None,))[0] != TaskInstanceState.RUNNING:
            return None
        do = action.get("do", "success")
        try:
            if do in _SUCCEEDS:
                self._leave_behind(ti_id, task_id, map_index, action)
        except _TaskError:
            do = "fail"
        payload = _payload(do, action, now, should_retry=should_retry)
        api.ti_update_state(ti_id, payload, self.session, self.dag_bag)
        self.session.expunge_all()
        event: dict[str, Any] = {
            "ev": "finish",
            "ti": key,
            "state": str(getattr(payload.state, "value", payload.state)),
        }
        if event["state"] == "up_for_retry":
            ti = self.load(task_id, map_index)
            ti.task = self.dag.get_task(task_id)
            event["retry_in"] = (ti.next_retry_datetime() - now).total_seconds()
        others = changes(before, self.rows())
        others.pop(key, None)
        if others:
            event["set"] = others
        return event

    def fire_trigger(self, trigger_id: int) -> None:
        """Let a deferred instance go on."""
        self.session.expunge_all()
        Trigger.submit_event(trigger_id, TriggerEvent({}), session=self.session)
        self.session.commit()

    def _leave_behind(
        self, ti_id: Any, task_id: str, map_index: int, action: Action
    ) -> None:
        """Skip others and push the return value, as an execution that succeeds does."""
        task = self.sdk_dag.get_task(task_id)
        try:
            if action.get("do") in ("branch", "short_circuit"):
                self._skip(task, map_index, action)
        except DownstreamTasksSkipped as skipped:
            tasks = (
                skipped.tasks if isinstance(skipped.tasks, list) else [skipped.tasks]
            )
            payload = payloads.TISkippedDownstreamTasksStatePayload(tasks=tasks)
            api.ti_skip_downstream(ti_id, payload, self.session)
            self.session.commit()
        else:
            self._push_return_value(task, map_index, action.get("value"))

    def _push_return_value(self, task: Any, map_index: int, value: Any) -> None:
        """Mirror ``task_runner._push_xcom_if_needed``."""
        mapped_over = next(task.iter_mapped_dependants(), None) is not None
        feeds_mapping = mapped_over and not task.is_mapped
        if feeds_mapping and not isinstance(value, list | dict):
            raise _TaskError("XComForMappingNotPushed or UnmappableXComTypePushed")
        if value is None:
            return
        length = len(value) if feeds_mapping else None
        try:
            self._set_xcom(task, map_index, "return_value", value, length)
        except HTTPException as err:  # longer than [core] max_map_length
            self.session.rollback()
            raise _TaskError(str(err.detail)) from err
        self.session.commit()

    def _set_xcom(
        self, task: Any, map_index: int, key: str, value: Any, length: int | None = None
    ) -> None:
        xcoms.set_xcom(
            self.dag.dag_id,
            self.run_id,
            task.task_id,
            key,
            self.session,
            value,
            map_index,
            False,
            length,
        )

    def _skip(self, task: Any, map_index: int, action: Action) -> None:
        ti = SimpleNamespace(
            task=task,
            map_index=map_index,
            xcom_push=lambda key, value: self._set_xcom(task, map_index, key, value),
        )
        mixin = BranchMixIn()
        mixin.task_id = task.task_id
        try:
            if action["do"] == "branch":
                mixin.do_branch({"ti": ti}, action.get("follow"))
            elif not action.get("value") and task.downstream_task_ids:
                # ShortCircuitOperator.execute
                direct = action.get("direct")
                find = task.get_direct_relatives if direct else task.get_flat_relatives
                below = [t for t in find(upstream=False) if not t.is_teardown]
                mixin.skip(ti=ti, tasks=below)
        finally:
            self.session.commit()


def _payload(do: str, action: Action, now: datetime, *, should_retry: bool) -> Any:
    if do in _SUCCEEDS:
        return payloads.TISuccessStatePayload(
            state="success", end_date=now, task_outlets=[], outlet_events=[]
        )
    if do == "fail" and should_retry:
        return payloads.TIRetryStatePayload(
            state="up_for_retry",
            end_date=now,
            retry_delay_seconds=action.get("retry_delay"),
        )
    match do:
        case "reschedule":
            delay = timedelta(seconds=action.get("delay", 10.0))
            return payloads.TIRescheduleStatePayload(
                state="up_for_reschedule", reschedule_date=now + delay, end_date=now
            )
        case "defer":
            return payloads.TIDeferredStatePayload(
                state="deferred",
                classpath="x",
                next_method="m",
                next_kwargs={},
                trigger_kwargs={},
            )
        case _:
            state = _TERMINAL.get(do, "failed")
            return payloads.TITerminalStatePayload(state=state, end_date=now)
