"""Live details of the scheduler workflow in the Temporal UI: all schedules, as Markdown. Pure."""

from collections.abc import Sequence

from appliance.schedules.messages import ScheduleRow
from appliance.temporal.markdown import MAX_ROWS, cell

_STEERING = (
    "To steer from here, send the update `steer` with "
    '`{"verb": "pause", "names": ["my_dag"]}`; the verbs are pause, resume and trigger. '
    "The same on the command line: `appliance schedules pause my_dag`."
)


def schedules_table(rows: Sequence[ScheduleRow]) -> str:
    """Return the schedules as a table; of many, those that run next."""
    active = [row for row in rows if row.state == "active"]
    paused = len(rows) - len(active)
    active.sort(key=lambda row: row.next_run or "~")
    head = f"{len(active)} active, {paused} paused"
    lines = [
        head,
        "",
        "| schedule | when | next run | last run | |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {cell(row.name)} | {cell(row.schedule)} | {row.next_run or ''} "
        f"| {row.last_run or ''} | {cell(row.note or '')} |"
        for row in active[:MAX_ROWS]
    ]
    return "\n".join([*lines, "", _STEERING])
