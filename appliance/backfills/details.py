"""The live details of a backfill workflow in the Temporal UI: its progress, as Markdown. Pure."""

from collections.abc import Sequence

from appliance.backfills.messages import BackfillProgress, PlannedRun
from appliance.temporal.markdown import cell


def backfill_progress(progress: BackfillProgress, waiting: Sequence[PlannedRun]) -> str:
    """Draw how far a backfill is."""
    ended = progress.succeeded + progress.failed
    total = ended + progress.running + progress.waiting
    following = f"next: {waiting[0].slot.run_id}" if waiting else ""
    return (
        f"**{ended} of {total} runs have ended** · 🟢 {progress.succeeded} success "
        f"· 🔴 {progress.failed} failed · 🔵 {progress.running} under way "
        f"· ⚪ {progress.skipped} left out, as there had been a run\n\n{following}"
        + "".join(f"\n\n{cell(error)}" for error in progress.errors)
    )
