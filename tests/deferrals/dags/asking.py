"""Operators that ask a person."""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import (
    ApprovalOperator,
    HITLBranchOperator,
    HITLEntryOperator,
    HITLOperator,
)
from airflow.sdk import DAG, Param, task

with DAG("asks_for_colours"):
    HITLOperator(
        task_id="ask",
        subject="Which colours on {{ ds }}?",
        body="For the *front* door.",
        options=["red", "green", "blue"],
        multiple=True,
        params={"coats": Param(2, type="integer")},
    )

with DAG("asks_bob"):
    (
        ApprovalOperator(
            task_id="ask", subject="Ship?", assigned_users={"id": "bob", "name": "Bob"}
        )
        >> task(lambda: 1, task_id="ship")()
    )

with DAG("asks_in_vain"):
    HITLEntryOperator(
        task_id="defaults",
        subject="Name?",
        params={"name": "anybody"},
        response_timeout=timedelta(seconds=1),
    )
    HITLOperator(
        task_id="fails",
        subject="Anybody?",
        options=["yes"],
        response_timeout=timedelta(seconds=1),
    )

with DAG("asks_each"):
    HITLOperator.partial(task_id="ask", options=["a", "b"]).expand(
        subject=["one", "two"]
    )
    HITLBranchOperator(
        task_id="branch", subject="Where to?", options=["left", "right"]
    ) >> [
        task(lambda: 1, task_id="left")(),
        task(lambda: 1, task_id="right")(),
    ]
