"""Checks what a run says of itself to the workflow of its DAG; a check returns what is wrong, or None. Pure."""

from appliance.dagrun.run_record import RunRecord
from appliance.temporal import limits

_MOST_CARD_BYTES = 16_384


def of_card(card: RunRecord) -> str | None:
    """Look at what a run says of itself."""
    if not card.workflow_id or not card.run_id:
        return "a run without a name"
    if limits.size_of(card.conf) > _MOST_CARD_BYTES:
        return "a conf too large to be remembered"
    texts = (card.run_id, card.workflow_id, card.lane, card.triggering_user or "")
    if any(len(text) > limits.WORKFLOW_ID_BYTES for text in texts):
        return "a name too long"
    return None
