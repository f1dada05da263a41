"""Printing of results: aligned columns with Airflow's names for people, one JSON value for programs.

States are coloured, on a terminal only.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from appliance.terminal import coloured as painted
from appliance.terminal import shown

if TYPE_CHECKING:
    from appliance.runs.reports import RunReport
    from appliance.temporal.messages import TaskRow

MOST_ROWS = 100
"""Task rows in a table; all of them are in ``-o json``."""

NO_STATE = "no_status"
"""Airflow's word for a task instance without a state."""

COLOURS = {
    "success": "green",
    "failed": "red",
    "upstream_failed": "yellow",
    "skipped": "magenta",
    "running": "cyan",
    "up_for_retry": "yellow",
    "up_for_reschedule": "cyan",
}

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="text for people, json for programs.",
)


def coloured(state: str | None, width: int = 0) -> str:
    """Pad a state, then colour it."""
    name = state or NO_STATE
    return painted(name.ljust(width), COLOURS.get(name))


def task_name(task_id: str, map_index: int) -> str:
    """Name a task instance as people see it: ``load``, ``load[3]``."""
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


def print_json(value: object) -> None:
    """Print one JSON value on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print aligned columns; a column named ``state`` is coloured, None is blank."""
    cells = [[_cell(column, row[column]) for column in columns] for row in rows]
    widths = [
        max(len(line[i]) for line in [list(columns), *cells])
        for i in range(len(columns))
    ]
    click.echo(_line(columns, columns, widths, header=True))
    for line in cells:
        click.echo(_line(columns, line, widths, header=False))


def print_report(report: "RunReport") -> None:
    """Print the task table and the line that sums the run up."""
    rows = list(report.tasks)
    shown = rows if len(rows) <= MOST_ROWS else _worst(rows)
    columns = ["task_id", "map_index", "state", "try_number", "start_date", "end_date"]
    if all(row.map_index < 0 for row in shown):
        columns.remove("map_index")
    if any(row.rendered_map_index for row in shown):
        columns.insert(2, "rendered_map_index")
    print_table(columns, [_task_cells(row) for row in shown])
    if len(rows) > len(shown):
        click.echo(f"... {len(rows) - len(shown)} more; -o json has all {len(rows)}")
    took = "" if report.duration_s is None else f" in {report.duration_s:.1f} s"
    click.echo(
        f"{coloured(report.state)}: {report.tasks_succeeded} succeeded, "
        f"{report.tasks_failed} failed of {len(rows)} tasks{took}"
    )


def _worst(rows: "Sequence[TaskRow]") -> "list[TaskRow]":
    rank = {"failed": 0, "upstream_failed": 1, "success": 3}
    return sorted(rows, key=lambda row: rank.get(row.state or "", 2))[:MOST_ROWS]


def _task_cells(row: "TaskRow") -> dict[str, Any]:
    return {
        "task_id": row.task_id,
        "map_index": None if row.map_index < 0 else row.map_index,
        "rendered_map_index": row.rendered_map_index,
        "state": row.state,
        "try_number": row.try_number,
        "start_date": row.start_date,
        "end_date": row.end_date,
    }


def _cell(column: str, value: Any) -> str:
    if value is None:
        return NO_STATE if column == "state" else ""
    return shown(str(value))


def _line(
    columns: Sequence[str], cells: Sequence[str], widths: Sequence[int], *, header: bool
) -> str:
    padded = [
        coloured(cell, width) if column == "state" and not header else cell.ljust(width)
        for column, cell, width in zip(columns, cells, widths, strict=True)
    ]
    return "  ".join(padded).rstrip()
