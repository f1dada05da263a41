"""Checks requests for pool slots; a check returns what is wrong, or None. Pure."""

from appliance.pools.model import SlotLease
from appliance.temporal.input_checks import MOST_NUMBER


def of_lease(lease: SlotLease) -> str | None:
    """Look at what a task instance wants of a pool."""
    if not lease.workflow_id or not lease.lease_id:
        return "a lease of nobody"
    if not 0 <= lease.slots < MOST_NUMBER:
        return f"{lease.slots} is no number of slots"
    return None
