"""The live details of a DAG's workflow in the Temporal UI: its runs, as Markdown. Pure."""

from collections.abc import Sequence

from appliance.dagrun.run_record import RunRecord
from appliance.temporal.markdown import MARKS, MAX_ROWS, cell

QUEUED = "🔷 queued: as many runs of this DAG as may (`max_active_runs`) are running."
"""What is shown of a run that waits for others."""


def early_text(run_after: str) -> str:
    """Say that a run waits for its time."""
    return f"🔷 queued: it is due at {run_after}."


def active_runs_table(
    running: Sequence[RunRecord], queued: Sequence[RunRecord], ended: int
) -> str:
    """Draw the runs of a DAG that have not ended."""
    head = f"🔵 {len(running)} running · 🔷 {len(queued)} queued · {ended} remembered"
    lines = [head, "", "| run | state | since |", "|---|---|---|"]
    for card in [*running, *queued][:MAX_ROWS]:
        mark, since = MARKS[card.state], card.start_date or ""
        lines.append(f"| {cell(card.run_id)} | {mark} {card.state} | {since} |")
    return "\n".join(lines)
