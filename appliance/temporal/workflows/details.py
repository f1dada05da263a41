"""The live picture of runs, pools and schedules in the Temporal UI: Markdown tables. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from appliance.dagrun.pool import Lease
from appliance.dagrun.roster import RunCard
from appliance.temporal.limits import SUMMARY_BYTES, shortened
from appliance.temporal.messages import TaskRow
from appliance.temporal.orders import BackfillProgress, PlannedRun, ScheduleRow

_MAX_ROWS = 100
_NAMED = 5
QUEUED = "🔷 queued: as many runs of this DAG as may (`max_active_runs`) are running."
"""What is shown of a run that waits for others."""
_STEERING = (
    "To steer from here, send the update `steer` with "
    '`{"verb": "pause", "names": ["my_dag"]}`; the verbs are pause, resume and trigger. '
    "The same on the command line: `appliance schedules pause my_dag`."
)
_MARKS = {
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


def summary(task_id: str, map_index: int, try_number: int) -> str:
    """Name a try in one line: ``extract · try 2``, ``load [3] · try 1``."""
    index = "" if map_index < 0 else f" [{map_index}]"
    rest = f"{index} · try {try_number}"
    return shortened(task_id, SUMMARY_BYTES - len(rest.encode())) + rest


def early(run_after: str) -> str:
    """Say that a run waits for its time."""
    return f"🔷 queued: it is due at {run_after}."


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


def schedules(rows: Sequence[ScheduleRow]) -> str:
    """Draw the schedules; of many, those that run next."""
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
        f"| {_cell(row.name)} | {_cell(row.schedule)} | {row.next_run or ''} "
        f"| {row.last_run or ''} | {_cell(row.note or '')} |"
        for row in active[:_MAX_ROWS]
    ]
    return "\n".join([*lines, "", _STEERING])


def backfill(progress: BackfillProgress, waiting: Sequence[PlannedRun]) -> str:
    """Draw how far a backfill is."""
    ended = progress.succeeded + progress.failed
    total = ended + progress.running + progress.waiting
    following = f"next: {waiting[0].slot.run_id}" if waiting else ""
    return (
        f"**{ended} of {total} runs have ended** · 🟢 {progress.succeeded} success "
        f"· 🔴 {progress.failed} failed · 🔵 {progress.running} under way "
        f"· ⚪ {progress.skipped} left out, as there had been a run\n\n{following}"
        + "".join(f"\n\n{_cell(error)}" for error in progress.errors)
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def failure(reason: str, rows: Iterable[TaskRow]) -> str:
    """Say in a line why a run has failed."""
    failed = [
        summary(row.task_id, row.map_index, row.try_number)
        for row in rows
        if row.state == "failed"
    ]
    if not failed:
        return f"The DAG run failed: {reason}"
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return f"The DAG run failed ({reason}): {', '.join(failed[:_NAMED])}{more}"


def dag(running: Sequence[RunCard], queued: Sequence[RunCard], ended: int) -> str:
    """Draw the runs of a DAG that have not ended."""
    head = f"🔵 {len(running)} running · 🔷 {len(queued)} queued · {ended} remembered"
    lines = [head, "", "| run | state | since |", "|---|---|---|"]
    for card in [*running, *queued][:_MAX_ROWS]:
        mark, since = _MARKS[card.state], card.start_date or ""
        lines.append(f"| {_cell(card.run_id)} | {mark} {card.state} | {since} |")
    return "\n".join(lines)


def pool(capacity: int, held: Sequence[Lease], waiting: int) -> str:
    """Draw who has the slots of a pool."""
    used = sum(lease.slots for lease in held)
    head = f"{used} of {capacity} slots are in use · 🔷 {waiting} wait"
    lines = [head, "", "| run | task | slots |", "|---|---|---|"]
    for lease in held[:_MAX_ROWS]:
        index = "" if lease.map_index < 0 else f" [{lease.map_index}]"
        task = _cell(lease.task_id) + index
        lines.append(f"| {_cell(lease.workflow_id)} | {task} | {lease.slots} |")
    return "\n".join(lines)


def _line(row: TaskRow) -> str:
    name = row.task_id if row.map_index < 0 else f"{row.task_id} [{row.map_index}]"
    if row.rendered_map_index:
        name += f" {row.rendered_map_index}"
    name = name.replace("|", "\\|").replace("\n", " ")
    state = row.state or ""
    return f"| {name} | {_MARKS.get(state, '')} {state} | {row.try_number or ''} |"
