"""The search attributes by which people find runs in the Temporal UI."""

from datetime import datetime
from typing import Any

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

DAG_ID = SearchAttributeKey.for_keyword("AirflowDagId")
RUN_ID = SearchAttributeKey.for_keyword("AirflowRunId")
RUN_TYPE = SearchAttributeKey.for_keyword("AirflowRunType")
STATE = SearchAttributeKey.for_keyword("AirflowState")
LOGICAL_DATE = SearchAttributeKey.for_datetime("AirflowLogicalDate")

KEYWORDS = (DAG_ID, RUN_ID, RUN_TYPE, STATE)


def of_run(
    dag_id: str, run_id: str, run_type: str, logical_date: str | None
) -> TypedSearchAttributes:
    """Return the attributes of a run that begins."""
    values = (dag_id, run_id, run_type, "running")
    pairs = [
        SearchAttributePair(key, value)
        for key, value in zip(KEYWORDS, values, strict=True)
    ]
    if logical_date is None:
        return TypedSearchAttributes(pairs)
    date = SearchAttributePair(LOGICAL_DATE, datetime.fromisoformat(logical_date))
    return TypedSearchAttributes([*pairs, date])


def updates(attributes: TypedSearchAttributes) -> list[SearchAttributeUpdate[Any]]:
    """Return what sets these attributes from within a workflow."""
    return [pair.key.value_set(pair.value) for pair in attributes]
