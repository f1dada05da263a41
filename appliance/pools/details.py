"""The live details of a pool's workflow in the Temporal UI: who holds its slots, as Markdown. Pure."""

from collections.abc import Sequence

from appliance.pools.model import SlotLease
from appliance.temporal.markdown import MAX_ROWS, cell


def pool_table(capacity: int, held: Sequence[SlotLease], waiting: int) -> str:
    """Draw who has the slots of a pool."""
    used = sum(lease.slots for lease in held)
    head = f"{used} of {capacity} slots are in use · 🔷 {waiting} wait"
    lines = [head, "", "| run | task | slots |", "|---|---|---|"]
    for lease in held[:MAX_ROWS]:
        index = "" if lease.map_index < 0 else f" [{lease.map_index}]"
        task = cell(lease.task_id) + index
        lines.append(f"| {cell(lease.workflow_id)} | {task} | {lease.slots} |")
    return "\n".join(lines)
