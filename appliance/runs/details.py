"""The live details of a run's workflow in the Temporal UI: its task instances, as Markdown. Pure."""

from collections import Counter
from collections.abc import Iterable

from appliance.temporal.limits import SUMMARY_BYTES, shortened
from appliance.temporal.markdown import MARKS, MAX_ROWS
from appliance.temporal.messages import TaskRow

_NAMED = 5


def try_summary(task_id: str, map_index: int, try_number: int) -> str:
    """Name a try in one line: ``extract · try 2``, ``load [3] · try 1``."""
    index = "" if map_index < 0 else f" [{map_index}]"
    rest = f"{index} · try {try_number}"
    return shortened(task_id, SUMMARY_BYTES - len(rest.encode())) + rest


def task_table(rows: Iterable[TaskRow]) -> str:
    """Draw the states of a run's task instances; beyond 100 only the unfinished and failed ones."""
    rows = list(rows)
    counts = Counter(row.state or "waiting" for row in rows)
    head = " · ".join(
        f"{MARKS.get(s, '⚫')} {n} {s}" for s, n in sorted(counts.items())
    )
    shown = rows
    if len(rows) > MAX_ROWS:
        shown = [r for r in rows if r.state not in ("success", "skipped", None)]
        shown = shown[:MAX_ROWS]
    lines = [head, "", "| task | state | try |", "|---|---|---|"]
    lines += [_line(row) for row in shown]
    if len(shown) < len(rows):
        lines += ["", f"{len(rows) - len(shown)} more task instances are not shown."]
    return "\n".join(lines)


def failure_line(reason: str, rows: Iterable[TaskRow]) -> str:
    """Say in a line why a run has failed."""
    failed = [
        try_summary(row.task_id, row.map_index, row.try_number)
        for row in rows
        if row.state == "failed"
    ]
    if not failed:
        return f"The DAG run failed: {reason}"
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return f"The DAG run failed ({reason}): {', '.join(failed[:_NAMED])}{more}"


def _line(row: TaskRow) -> str:
    name = row.task_id if row.map_index < 0 else f"{row.task_id} [{row.map_index}]"
    if row.rendered_map_index:
        name += f" {row.rendered_map_index}"
    name = name.replace("|", "\\|").replace("\n", " ")
    state = row.state or ""
    return f"| {name} | {MARKS.get(state, '')} {state} | {row.try_number or ''} |"
