"""Markdown for the live details of workflows in the Temporal UI: marks of states, cells of tables. Pure."""

MAX_ROWS = 100
MARKS = {
    "success": "🟢",
    "running": "🔵",
    "failed": "🔴",
    "upstream_failed": "🟠",
    "skipped": "⚪",
    "up_for_retry": "🟡",
    "up_for_reschedule": "🟡",
    "deferred": "🟣",
    "awaiting_input": "✋",
    "queued": "🔷",
    "scheduled": "🔷",
}


def cell(text: str) -> str:
    """Write a value so that it stays in its cell."""
    return text.replace("|", "\\|").replace("\n", " ")
