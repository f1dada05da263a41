"""The task instances of a run as plain JSON values, written and read.

Written between two calls of the machine, when nothing is left to look at. What can be counted is counted again.
A key may be added with a default, never renamed: a run may be continued by a later version.

A task's instances are rows ``[first, last, state, try, reschedules, losses, due, returned]``, one for a range of
map indexes that are alike; trailing defaults are left out, and so are tasks nothing has happened to.
"""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from appliance.dagrun.states import PARKED, TaskState
from appliance.dagrun.task_instances import (
    NEVER,
    WAITS,
    TaskInstance,
    TaskInstances,
    TaskNode,
)

_FRESH: tuple[Any, ...] = (None, 0, 0, 0, 0.0, False)


def write(board: TaskInstances) -> dict[str, Any]:
    """Write all instances, and what their ends have left behind."""
    nodes = board.nodes.items()
    met = [
        task_id
        for task_id, node in nodes
        if node.task.depends_on_past and task_id not in board.awaits_past
    ]
    rows = {task_id: _write_rows(node) for task_id, node in nodes}
    return {
        "tasks": {task_id: row for task_id, row in rows.items() if row != [[-1, -1]]},
        "lengths": {
            task_id: node.return_length
            for task_id, node in nodes
            if node.return_length is not None
        },
        "verdicts": {
            task_id: [[i, *verdict] for i, verdict in node.skip_verdicts.items()]
            for task_id, node in nodes
            if node.skip_verdicts
        },
        **({"past_met": met} if met else {}),
    }


def _write_rows(node: TaskNode) -> list[list[Any]]:
    rows: list[list[Any]] = []
    last: tuple[Any, ...] | None = None
    for index, instance in node.instances.items():
        facts = (
            instance.state,
            instance.try_number,
            instance.reschedules,
            instance.losses,
            instance.due if instance.state in WAITS else 0.0,
            index in node.pushed,
        )
        if facts == last and rows[-1][1] == index - 1:
            rows[-1][1] = index
        else:
            rows.append([index, index, *_without_defaults(facts)])
        last = facts
    return rows


def _without_defaults(facts: tuple[Any, ...]) -> tuple[Any, ...]:
    length = len(facts)
    while length and facts[length - 1] == _FRESH[length - 1]:
        length -= 1
    return facts[:length]


def read(board: TaskInstances, data: Mapping[str, Any]) -> None:
    """Put a new board where ``write`` found the old one. Everything is looked at again in the next pass."""
    for task_id, length in data["lengths"].items():
        board.nodes[task_id].return_length = length
    for task_id, rows in data["tasks"].items():
        node = board.nodes[task_id]
        board.replace(node, [i for row in rows for i in range(row[0], row[1] + 1)])
        for first, last, *facts in rows:
            full = [f or e for f, e in zip_longest(facts, _FRESH)]
            for index in range(first, last + 1):
                _restore(board, node.instances[index], full)
    for task_id, verdicts in data["verdicts"].items():
        for index, verdict, ids in verdicts:
            instance = board.nodes[task_id].instances[index]
            board.record_verdict(instance, (verdict, tuple(ids)))
    board.meet_past(data.get("past_met", ()))
    board.take_snapshot()


def _restore(board: TaskInstances, instance: TaskInstance, facts: list[Any]) -> None:
    state, instance.try_number, instance.reschedules, instance.losses, due, out = facts
    instance.due = due
    instance.has_try = state == TaskState.RUNNING
    if out:
        board.nodes[instance.task.task_id].pushed.add(instance.map_index)
    if state is not None:
        board.set_state(instance, TaskState(state))
    instance.is_parked = state in PARKED or due == NEVER
