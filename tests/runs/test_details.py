"""The table of task states in the Temporal UI."""

from appliance.active_runs.details import active_runs_table
from appliance.dagrun.run_record import RunRecord
from appliance.dagrun.states import RunState
from appliance.pools.details import pool_table
from appliance.pools.model import SlotLease
from appliance.runs.details import task_table, try_summary
from appliance.temporal.limits import SUMMARY_BYTES
from appliance.temporal.messages import TaskRow


def test_a_try_is_named_in_a_line() -> None:
    assert try_summary("extract", -1, 2) == "extract · try 2"
    assert try_summary("load", 3, 1) == "load [3] · try 1"


def test_a_summary_is_no_longer_than_temporal_takes() -> None:
    text = try_summary("\u6f22" * 250, 3, 12)

    assert len(text.encode()) <= SUMMARY_BYTES
    assert text.endswith("… [3] · try 12")


def test_the_table_has_a_row_a_task_and_counts_the_states() -> None:
    text = task_table(
        [TaskRow("a", -1, "success", 1), TaskRow("b|c", 0, None, 0, None, None, "x")]
    )

    assert "1 success" in text
    assert "| a | 🟢 success | 1 |" in text
    assert "| b\\|c [0] x |" in text


def test_a_large_run_shows_only_what_is_worth_a_look() -> None:
    rows = [TaskRow("m", n, "success", 1) for n in range(500)]
    rows.append(TaskRow("z", -1, "failed", 2))

    text = task_table(rows)

    assert "| z | 🔴 failed | 2 |" in text
    assert "500 more task instances" in text
    assert len(text) < 20_000


def test_the_page_of_a_dag_shows_who_runs_and_who_waits() -> None:
    running = RunRecord("one|1", "w", "manual", "2026", state=RunState.RUNNING)
    queued = RunRecord("two", "w", "manual", "2026")

    text = active_runs_table([running], [queued], 7)

    assert text.splitlines()[0] == "🔵 1 running · 🔷 1 queued · 7 remembered"
    assert "| one\\|1 | 🔵 running |" in text
    assert "| two | 🔷 queued |" in text


def test_the_page_of_a_pool_shows_who_has_its_slots() -> None:
    text = pool_table(3, [SlotLease("l", "dag-x-one", "load", 2, slots=2)], 1)

    assert text.splitlines()[0] == "2 of 3 slots are in use · 🔷 1 wait"
    assert "| dag-x-one | load [2] | 2 |" in text
