"""Checks the input of activities: whether a run of this server may ask for this try, wait or callback.

Whoever reaches the server may have a workflow of his own ask for these activities, with any input. What they then do is
done for the workflow that asks, never for another that the input names; and no id may lead out of a folder.
"""

import uuid
from collections.abc import Iterator

from temporalio import activity
from temporalio.exceptions import ApplicationError

from appliance.dagrun import ids as dagrun_ids
from appliance.dagrun.attempt import ActivityTaskInput
from appliance.runs.run_data import RUN_XCOM_BYTES
from appliance.temporal import messages
from appliance.temporal.connection import workflow_id

_MOST = 1 << 31


def require(task: ActivityTaskInput) -> None:
    """Refuse an input that names what it may not.

    Raises:
        ApplicationError: type ``InputRefused``, not to be tried again.
    """
    why = next(_objections(task, activity.info().workflow_id or ""), None)
    if why is not None:
        raise ApplicationError(
            f"refused: {why}", type=messages.INPUT_REFUSED, non_retryable=True
        )


def _objections(task: ActivityTaskInput, asks: str) -> Iterator[str]:
    yield from _in_ids(task)
    yield from _in_numbers(task)
    run = task.run
    if run.workflow_id != asks:
        yield (
            f"the workflow {dagrun_ids.shown(asks)!r} asks for what belongs to "
            f"{dagrun_ids.shown(run.workflow_id)!r}"
        )
    if run.is_sealed and asks != workflow_id(run.dag_id, run.run_id):
        yield (
            f"connections and variables of {dagrun_ids.shown(asks)!r} are opened for no "
            "other run"
        )


def _in_ids(task: ActivityTaskInput) -> Iterator[str]:
    ids = {"DAG": task.run.dag_id, "run": task.run.run_id}
    is_of_dag = task.callback is not None and not task.callback.is_of_try
    if task.task_id or not is_of_dag:
        ids["task"] = task.task_id
    for what, name in ids.items():
        if wrong := dagrun_ids.objection(name):
            yield f"{dagrun_ids.shown(name)!r} is no id of a {what}: {wrong}"
    if not _is_uuid(task.ti_id):
        yield f"{dagrun_ids.shown(task.ti_id)!r} is no id of a try"


def _in_numbers(task: ActivityTaskInput) -> Iterator[str]:
    numbers = (task.map_index + 1, task.try_number, task.max_tries, task.reschedules)
    if not all(0 <= number < _MOST for number in numbers):
        yield "a number of the try is none it can have"
    if not 0 <= task.xcom_budget_bytes <= RUN_XCOM_BYTES:
        yield f"no run has room for {task.xcom_budget_bytes} bytes of XComs"


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
