"""Checks the input of a backfill workflow; a check returns what is wrong, or None. Pure."""

from appliance.backfills.messages import BackfillRequest
from appliance.dagrun import ids
from appliance.temporal.input_checks import MOST_NUMBER, moment, of_anything


def of_backfill(request: BackfillRequest) -> str | None:
    """Look at the input of a backfill."""
    if why := ids.objection(request.dag_id):
        return f"dag_id: {why}"
    for key in ("from_date", "to_date"):
        if moment(getattr(request, key)) is None:
            return f"{key}: no ISO 8601 time"
    if not 0 < request.max_active_runs < MOST_NUMBER:
        return f"max_active_runs: {request.max_active_runs} is no number of runs"
    return of_anything(request)
