"""The live picture of a run in the Temporal UI: a Markdown table of task states. Pure."""

from collections import Counter
from collections.abc import Iterable

from appliance.temporal.limits import SUMMARY_BYTES, shortened
from appliance.temporal.messages import TaskRow

_MAX_ROWS = 100
QUEUED = "🔷 queued: as many runs of this DAG as may (`max_active_runs`) are running."
"""What is shown of a run that waits for others."""
_MARKS = {
    "success": "🟢",
    "running": "🔵",
    "failed": "🔴",
    "upstream_failed": "🟠",
    "skipped": "⚪",
    "up_for_retry": "🟡",
    "up_for_reschedule": "🟡",
    "deferred": "🟣",
    "queued": "🔷",
    "scheduled": "🔷",
}


def summary(task_id: str, map_index: int, try_number: int) -> str:
    """Name a try in one line: ``extract · try 2``, ``load [3] · try 1``."""
    index = "" if map_index < 0 else f" [{map_index}]"
    rest = f"{index} · try {try_number}"
    return shortened(task_id, SUMMARY_BYTES - len(rest.encode())) + rest


def table(rows: Iterable[TaskRow]) -> str:
    """Draw the states of a run's task instances; beyond 100 only the unfinished and failed ones."""
    rows = list(rows)
    counts = Counter(row.state or "waiting" for row in rows)
    head = " · ".join(
        f"{_MARKS.get(s, '⚫')} {n} {s}" for s, n in sorted(counts.items())
    )
    shown = rows
    if len(rows) > _MAX_ROWS:
        shown = [r for r in rows if r.state not in ("success", "skipped", None)]
        shown = shown[:_MAX_ROWS]
    lines = [head, "", "| task | state | try |", "|---|---|---|"]
    lines += [_line(row) for row in shown]
    if len(shown) < len(rows):
        lines += ["", f"{len(rows) - len(shown)} more task instances are not shown."]
    return "\n".join(lines)


def _line(row: TaskRow) -> str:
    name = row.task_id if row.map_index < 0 else f"{row.task_id} [{row.map_index}]"
    if row.rendered_map_index:
        name += f" {row.rendered_map_index}"
    name = name.replace("|", "\\|").replace("\n", " ")
    state = row.state or ""
    return f"| {name} | {_MARKS.get(state, '')} {state} | {row.try_number or ''} |"
