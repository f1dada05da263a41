"""The table of task states in the Temporal UI."""

from appliance.dagrun.pool import Lease
from appliance.dagrun.roster import RunCard
from appliance.dagrun.states import RunState
from appliance.temporal.limits import SUMMARY_BYTES
from appliance.temporal.messages import TaskRow
from appliance.temporal.workflows.details import dag, pool, summary, table


def test_a_try_is_named_in_a_line() -> None:
    assert summary("extract", -1, 2) == "extract · try 2"
    assert summary("load", 3, 1) == "load [3] · try 1"


def test_a_summary_is_no_longer_than_temporal_takes() -> None:
    text = summary("\u6f22" * 250, 3, 12)

    assert len(text.encode()) <= SUMMARY_BYTES
    assert text.endswith("… [3] · try 12")


def test_the_table_has_a_row_a_task_and_counts_the_states() -> None:
    text = table(
        [TaskRow("a", -1, "success", 1), TaskRow("b|c", 0, None, 0, None, None, "x")]
    )

    assert "1 success" in text
    assert "| a | 🟢 success | 1 |" in text
    assert "| b\\|c [0] x |" in text


def test_a_large_run_shows_only_what_is_worth_a_look() -> None:
    rows = [TaskRow("m", n, "success", 1) for n in range(500)]
    rows.append(TaskRow("z", -1, "failed", 2))

    text = table(rows)

    assert "| z | 🔴 failed | 2 |" in text
    assert "500 more task instances" in text
    assert len(text) < 20_000


def test_the_page_of_a_dag_shows_who_runs_and_who_waits() -> None:
    running = RunCard("one|1", "w", "manual", "2026", state=RunState.RUNNING)
    queued = RunCard("two", "w", "manual", "2026")

    text = dag([running], [queued], 7)

    assert text.splitlines()[0] == "🔵 1 running · 🔷 1 queued · 7 remembered"
    assert "| one\\|1 | 🔵 running |" in text
    assert "| two | 🔷 queued |" in text


def test_the_page_of_a_pool_shows_who_has_its_slots() -> None:
    text = pool(3, [Lease("l", "dag-x-one", "load", 2, slots=2)], 1)

    assert text.splitlines()[0] == "2 of 3 slots are in use · 🔷 1 wait"
    assert "| dag-x-one | load [2] | 2 |" in text
