"""Reads the DAG of a run through a worker, and checks the plan that a run was started with.

What a run is started with may come from anybody. The worker that read the DAG vouches for what it read; where nobody
of this box does, it is left aside and the DAG is read here. Imported by the workflow: deterministic.
"""

import hashlib
import json
from dataclasses import asdict, fields
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from appliance.dagrun.ids import shown
from appliance.runs.run_records import questioned
from appliance.temporal import limits, messages
from appliance.temporal.messages import DagAnswer, DagExecutionInput, PlanClaim
from appliance.worker_questions.messages import READ_DAG

_READ_AGAIN = RetryPolicy(maximum_attempts=5)
"""A refusal is an answer; what fails is the worker."""
_READ_TIMEOUT = timedelta(minutes=5)


async def read(request: DagExecutionInput, logical_date: str | None) -> DagAnswer:
    """Have a worker read the DAG.

    Raises:
        ApplicationError: type ``DagRefused``: it cannot be run.
    """
    answer: DagAnswer = await workflow.execute_local_activity(
        READ_DAG,
        questioned(request, logical_date),
        result_type=DagAnswer,
        start_to_close_timeout=_READ_TIMEOUT,
        retry_policy=_READ_AGAIN,
        summary=limits.shortened(f"read {request.dag_id}"),
    )
    given = request.dag
    preface = ""
    if given is not None:
        preface = (
            f"the plan of {shown(given.file)!r} this run was started with is left aside, "
            "as no worker of this box has made it; read instead: "
        )
    accept(answer, preface)
    return answer


def accept(answer: DagAnswer, preface: str = "") -> None:
    """End a run whose DAG cannot be run; the reason is told after ``preface``.

    Raises:
        ApplicationError: type ``DagRefused``.
    """
    if answer.refusal is not None:
        raise ApplicationError(
            preface + answer.refusal, type=messages.RUN_REFUSED, non_retryable=True
        )


def claim(request: DagExecutionInput) -> PlanClaim | None:
    """Return what a worker is to say is true of what a run is started with; None: nothing was."""
    if request.dag is None:
        return None
    digest = digest_of(request.dag_id, request.run_id, request.dag)
    return PlanClaim(digest, request.dag.voucher)


def digest_of(dag_id: str, run_id: str | None, answer: DagAnswer) -> str:
    """Sum up what was read for a run, whether it has crossed a process boundary or not."""
    told = {
        field.name: getattr(answer, field.name)
        for field in fields(answer)
        if field.name != "voucher"
    }
    told["pools"] = {name: asdict(pool) for name, pool in answer.pools.items()}
    try:
        text = json.dumps([dag_id, run_id, told], sort_keys=True)
    except RecursionError:  # Nobody has read that in a DAG file.
        return ""
    return hashlib.sha256(text.encode()).hexdigest()
