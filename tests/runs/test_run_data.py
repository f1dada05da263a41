"""What a run remembers beside the machine."""

import json
from dataclasses import asdict

from appliance.dagrun.attempt import TaskExecutionResult, XComRow
from appliance.dagrun.states import TaskState
from appliance.runs.messages import XComQuestion
from appliance.runs.run_data import RUN_XCOM_BYTES, RunData, shorten
from appliance.temporal.messages import TaskRow

T0, T1, T2, T3 = (f"2026-01-01T00:00:0{n}+00:00" for n in range(4))


def result(
    *rows: XComRow, deleted: tuple[XComRow, ...] = (), start: str = T0, end: str = T1
) -> TaskExecutionResult:
    return TaskExecutionResult(
        TaskState.SUCCESS, start, end, xcoms=rows, deleted=deleted
    )


def test_the_last_value_of_a_key_counts() -> None:
    ledger = RunData()
    ledger.ended(("a", -1), result(XComRow("a", -1, "k", 1)))
    ledger.ended(("a", -1), result(XComRow("a", -1, "k", [1, 2])))

    assert ledger.answer(XComQuestion(("a",), "k")) == [XComRow("a", -1, "k", [1, 2])]
    assert ledger.used_bytes == len("[1,2]")


def test_deleting_gives_the_bytes_back() -> None:
    ledger = RunData()
    ledger.ended(("a", -1), result(XComRow("a", -1, "k", "x" * 100)))
    ledger.ended(("a", -1), result(deleted=(XComRow("a", -1, "k"),)))

    assert ledger.answer(XComQuestion()) == []
    assert ledger.budget_bytes == RUN_XCOM_BYTES
    assert ledger.keys(("a", -1)) == ()


def test_mapped_xcoms_come_in_map_index_order() -> None:
    ledger = RunData()
    for index in (10, 2, 0):
        row = XComRow("m", index, "return_value", index)
        ledger.ended(("m", index), result(row))

    found = ledger.answer(XComQuestion(("m",), "return_value"))

    assert [row.map_index for row in found] == [0, 2, 10]


def test_xcoms_come_in_pages() -> None:
    ledger = RunData()
    for index in range(5):
        row = XComRow("m", index, "return_value", index)
        ledger.ended(("m", index), result(row))

    pages = [
        [row.value for row in ledger.answer(XComQuestion(start=start, limit=2))]
        for start in (0, 2, 4, 6)
    ]

    assert pages == [[0, 1], [2, 3], [4], []]


def test_upstreams_are_sent_along_whole_or_not_at_all() -> None:
    ledger = RunData()
    ledger.ended(("big", -1), result(XComRow("big", -1, "k", "x" * 5000)))
    ledger.ended(("small", -1), result(XComRow("small", -1, "k", 1)))

    rows, complete, used = ledger.send_along(["big", "none", "small"], 1000)

    assert [row.task_id for row in rows] == ["small"]
    assert complete == ("none", "small")
    assert used >= len(json.dumps(asdict(rows[0]), separators=(",", ":")))


def test_what_is_sent_along_is_counted_as_it_is_written() -> None:
    ledger = RunData()
    for index in range(100):
        row = XComRow("many", index, "return_value", 1)
        ledger.ended(("many", index), result(row))
    ledger.ended(("cjk", -1), result(XComRow("cjk", -1, "k", "\u6f22" * 500)))
    ledger.ended(("gone", -1), result(XComRow("gone", -1, "k", "x" * 5000)))
    ledger.ended(("gone", -1), result(deleted=(XComRow("gone", -1, "k"),)))

    assert ledger.send_along(["many", "cjk", "gone"], 2048) == ((), ("gone",), 0)


def test_a_try_that_was_rescheduled_keeps_its_first_start() -> None:
    ledger = RunData()
    sensor = ("s", -1)
    ledger.started(sensor, T0, is_poke=False)
    ledger.ended(sensor, result(start=T0, end=T1))
    ledger.started(sensor, T2, is_poke=True)
    ledger.ended(sensor, result(start=T2, end=T3))

    assert ledger.first_poke(sensor) == T0
    row = ledger.task_row("s", -1, "success", 1)
    assert (row.start_date, row.end_date) == (T0, T3)


def test_a_retry_starts_its_own_clock() -> None:
    ledger = RunData()
    task = ("t", -1)
    ledger.started(task, T0, is_poke=False)
    ledger.ended(task, result(start=T0, end=T1))
    ledger.started(task, T2, is_poke=False)

    assert ledger.first_poke(task) is None
    row = ledger.task_row("t", -1, "running", 2)
    assert (row.start_date, row.end_date) == (T2, None)


def test_a_short_list_of_rows_shows_failures_first() -> None:
    rows = [TaskRow(f"t{n}", -1, "success", 1) for n in range(5)]
    rows.append(TaskRow("z", -1, "failed", 1))

    assert [row.task_id for row in shorten(rows, 2)] == ["z", "t0"]


def test_it_can_be_carried_on() -> None:
    ledger = RunData()
    ledger.started(("s", 2), T0, is_poke=False)
    ledger.ended(("s", 2), result(XComRow("s", 2, "b", [1]), XComRow("s", 2, "a", "é")))
    ledger.ended(("t", -1), result(XComRow("t", -1, "k", {"x": None})))
    ledger.ended(("t", -1), result(deleted=(XComRow("t", -1, "k"),)))

    again = RunData.from_json(json.loads(json.dumps(ledger.to_json())))

    assert again.to_json() == ledger.to_json()
    assert again.answer(XComQuestion()) == ledger.answer(XComQuestion())
    assert again.keys(("s", 2)) == ("b", "a")
    assert again.used_bytes == ledger.used_bytes
    assert again.send_along(["s"], 1000) == ledger.send_along(["s"], 1000)
    assert again.task_row("s", 2, None, 1) == ledger.task_row("s", 2, None, 1)
