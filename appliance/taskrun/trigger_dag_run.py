"""Answers to ``TriggerDagRunOperator``: starts a run of another DAG, or of the same one.

Source: Airflow 3.3: ``api_fastapi/execution_api/routes/dag_runs.py`` (``trigger_dag_run``, ``clear_dag_run``).
"""

from datetime import datetime
from typing import Any

from appliance.dagrun.attempt import ActivityTaskInput
from appliance.errors import DagError
from appliance.forkserver.frames import Reply
from appliance.taskrun.protocols import RunView, RunWish
from appliance.taskrun.responses import (
    OK,
    Body,
    Handler,
    later_text,
    not_found,
    refusal,
    rejected,
)


class TriggerDagRunReplies:
    """The answers to one try."""

    def __init__(self, task: ActivityTaskInput, run: RunView) -> None:
        """Start runs for the try ``task``."""
        self._task = task
        self._run = run

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        return {"TriggerDagRun": self._start}

    async def _start(self, body: Body) -> Reply:
        if body.get("partition_key"):
            return refusal(later_text("starting runs with a partition key is"))
        wish = RunWish(
            dag_id=body["dag_id"],
            run_id=body["run_id"],
            conf=body.get("conf") or {},
            logical_date=_text(body.get("logical_date")),
            run_after=_text(body.get("run_after")),
            is_reset=bool(body.get("reset_dag_run")),
            triggering_user=self._task.run.triggering_user,
        )
        try:
            is_started = await self._run.others.start(wish)
        except DagError as err:
            return rejected(str(err), reason="value_error")
        return OK if is_started else not_found("DAGRUN_ALREADY_EXISTS")


def _text(moment: Any) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment
