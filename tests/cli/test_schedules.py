"""What the commands about schedules and backfills print and ask for."""

import json
from dataclasses import replace

from appliance.backfills.messages import BackfillProgress, BackfillRequest, PlannedRun
from appliance.dagfile.models import ListedDag, Listing
from appliance.dagrun.timing import ScheduledRun
from appliance.schedules.messages import ScheduleList, ScheduleRow
from tests.cli.conftest import Type
from tests.fakes.server import RUN_ID, FakeServer

DATE = "2026-01-31T00:00:00+00:00"
OWN = ScheduleRow(
    "my_dag", "my_dag", "@daily", "active", "2026-02-01T00:00:00+00:00", DATE, "my.py"
)
NIGHTLY = replace(OWN, name="nightly", state="paused", next_run=None, source="a.yaml:1")
DONE = BackfillProgress("my_dag", 0, 0, 2, 0, 1)


def scheduled(server: FakeServer) -> FakeServer:
    server.known_schedules = ScheduleList([OWN, NIGHTLY], ["a.yaml:3:1: no such DAG"])
    server.listing = Listing((ListedDag("my_dag", "my.py", schedule="@daily"),))
    return server


def test_list(enter: Type, server: FakeServer) -> None:
    """The table goes to stdout; what is wrong, and how to start a paused one, to stderr."""
    result = enter("schedules", "list", on=scheduled(server))

    assert result.stdout.splitlines()[1].split()[:4] == [
        "my_dag",
        "my_dag",
        "@daily",
        "active",
    ]
    assert "1 paused. Start one: appliance schedules resume nightly." in result.stderr
    assert "a.yaml:3:1: no such DAG" in result.stderr
    rows = json.loads(enter("schedules", "list", "-o", "json").stdout)
    assert [row["name"] for row in rows] == ["my_dag", "nightly"]


def test_show_has_the_next_runs(enter: Type, server: FakeServer) -> None:
    """And an unknown one names the nearest."""
    words = ("schedules", "show", "nightly", "-n", "2")
    result = enter(*words, on=scheduled(server))
    wrong = enter("schedules", "show", "nightli")

    assert result.stdout.count("2026-02-01T00:00:00+00:00") == 2 * 4
    assert len(json.loads(enter(*words, "-o", "json").stdout)["next_runs"]) == 2
    assert (wrong.exit_code, wrong.stderr.strip()) == (
        2,
        "There is no schedule 'nightli'. Did you mean 'nightly'?",
    )


def test_pause_resume_and_trigger(enter: Type, server: FakeServer) -> None:
    """Each asks for just that; an unknown schedule is an error."""
    scheduled(server)
    assert enter("schedules", "pause", "my_dag", "nightly").stdout == (
        "Paused: my_dag, nightly\n"
    )
    assert enter("schedules", "resume", "nightly").stdout == "Resumed: nightly\n"
    started = enter("schedules", "trigger", "nightly", "--conf", '{"a": 1}')
    assert started.stdout == f"Started {RUN_ID}\n"
    assert server.steered == [
        ("pause", ("my_dag", "nightly"), None),
        ("resume", ("nightly",), None),
        ("trigger", ("nightly",), {"a": 1}),
    ]
    assert enter("schedules", "pause", "x").exit_code == 2
    paused = enter("schedules", "pause", "my_dag", "-o", "json").stdout
    assert json.loads(paused) == [{"name": "my_dag", "state": "paused"}]


def test_dags_are_paused_with_all_their_schedules(
    enter: Type, server: FakeServer
) -> None:
    """That of the file and those of appliance.yaml; a DAG that has none says so."""
    scheduled(server)
    assert enter("dags", "pause", "my_dag").stdout == "Paused: my_dag, nightly\n"
    assert enter("dags", "unpause", "my_dag").stdout == "Unpaused: my_dag, nightly\n"
    assert [asked[:2] for asked in server.steered] == [
        ("pause", ("my_dag", "nightly")),
        ("resume", ("my_dag", "nightly")),
    ]
    told = json.loads(enter("dags", "pause", "my_dag", "-o", "json").stdout)
    assert [one["name"] for one in told] == ["my_dag", "nightly"]
    wrong = enter("dags", "pause", "my_dog")
    assert (wrong.exit_code, wrong.stderr.strip()) == (
        2,
        "There is no DAG 'my_dog'. Did you mean 'my_dag'?",
    )


def test_dags_show_and_next(enter: Type, server: FakeServer) -> None:
    """What a DAG's file says and what its schedule does, together."""
    scheduled(server)
    shown = json.loads(enter("dags", "show", "my_dag", "-o", "json").stdout)
    coming = json.loads(enter("dags", "next", "my_dag", "-o", "json").stdout)

    assert (shown["file"], shown["is_paused"]) == ("my.py", False)
    assert shown["schedules"] == ["my_dag", "nightly"]
    assert [run["run_after"] for run in coming] == ["2026-02-01T00:00:00+00:00"]
    assert "next_run    2026-02-01" in enter("dags", "show", "my_dag").stdout
    assert "is_paused" in enter("dags", "list").stdout


def test_a_backfill_shows_its_progress(enter: Type, server: FakeServer) -> None:
    """Each change is a line; failed runs make the exit code 1."""
    half = replace(DONE, waiting=1, succeeded=1)
    server.backfills.progress = [half, half, DONE]
    words = ("backfill", "my_dag", "--from", "2026-01-01", "--to", "2026-01-03")
    result = enter(*words, "--run-backwards", "--reprocess", "failed")

    assert result.stdout.splitlines() == [
        "1 of 2 runs have ended: 1 success, 0 failed; 0 under way, 1 left out",
        "2 of 2 runs have ended: 2 success, 0 failed; 0 under way, 1 left out",
    ]
    assert server.backfills.asked == [
        BackfillRequest(
            "my_dag",
            "2026-01-01T00:00:00+00:00",
            "2026-01-03T00:00:00+00:00",
            is_backwards=True,
            reprocess="failed",
        )
    ]
    server.backfills.progress = [replace(DONE, failed=1)]
    failed = enter(*words, "-o", "json")
    assert (failed.exit_code, json.loads(failed.stdout)["failed"]) == (1, 1)


def test_a_dry_run_and_the_end_of_a_backfill(enter: Type, server: FakeServer) -> None:
    """A dry run starts nothing; without dates it is a usage error."""
    server.backfills.planned = [
        PlannedRun(ScheduledRun(DATE, f"backfill__{DATE}", DATE, DATE)),
        PlannedRun(ScheduledRun(DATE, "other", DATE, DATE), reason="already exists"),
    ]
    words = ("backfill", "my_dag", "--from", "2026-01-01", "--to", "2026-01-03")
    result = enter(*words, "--dry-run")

    assert "already exists" in result.stdout
    assert result.stderr.strip() == "1 runs would be made, 1 left out."
    assert enter(*words, "--detach").stdout == "Started airflow-backfill-my_dag\n"
    assert enter("backfill", "my_dag", "--cancel").exit_code == 0
    assert server.backfills.cancelled == ["my_dag"]
    assert enter("backfill", "my_dag").exit_code == 2
