"""A real appliance makes runs by the clock, follows its folder, and can be steered."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.worker import Replayer

from appliance.backfills.workflow import AirflowBackfill
from appliance.schedules.workflow import AirflowScheduler
from tests.box import RunningBox, running_box
from tests.faults.processes import the_one
from tests.schedules.looking import Looker, until

pytestmark = [pytest.mark.needs_airflow, pytest.mark.needs_server]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """Give a box on a copy of the DAG folder, whose schedules begin paused."""
    folder = tmp_path_factory.mktemp("box")
    shutil.copytree(HERE / "dags", folder / "dags")
    shutil.copytree(HERE / "plugins", folder / "plugins")
    (folder / "appliance.yaml").write_text("schedules: {}\n")
    environ = {
        "APPLIANCE_CONF": str(folder / "appliance.yaml"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
    }
    with running_box(dags=folder / "dags", folder=folder, environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def look(box: RunningBox) -> Looker:
    """Give somebody who looks at the box, once it has looked at its folder."""
    looker = Looker(box)

    until(lambda: "hourly" in looker.schedules())
    return looker


def save(box: RunningBox, file: str, text: str) -> None:
    (box.data.parent / file).write_text(text)


def test_paused_is_said_and_how_to_start(box: RunningBox, look: Looker) -> None:
    """Schedules of files begin paused, as in Airflow."""
    ended = box.appliance("schedules", "list")

    assert {row["state"] for row in look.schedules().values()} == {"paused"}
    assert "Start one: appliance schedules resume ended" in ended.stderr
    assert box.appliance("dags", "show", "hourly", "-o", "json").json["is_paused"]
    assert look.executions("ended") == []


def test_the_next_runs_are_airflows(box: RunningBox, look: Looker) -> None:
    """Also those of a paused DAG; one without a schedule says so."""
    found = box.appliance("dags", "next", "hourly", "-n", "2", "-o", "json").json
    none = box.appliance("dags", "next", "handy")

    assert [run["run_after"][13:] for run in found] == [":00:00+00:00"] * 2
    assert none.code == 2
    assert "handy has no schedule of its own." in none.stderr


def test_catching_up_makes_every_run_once(box: RunningBox, look: Looker) -> None:
    """Unpaused, a DAG makes the runs it missed, each with its own interval and Airflow's names."""
    assert box.appliance("dags", "unpause", "ended").code == 0
    times = [f"2026-01-01T0{hour}:00:00+00:00" for hour in range(4)]
    until(lambda: len(look.executions("ended")) == 4)

    assert sorted(look.executions("ended")) == [f"scheduled__{time}" for time in times]
    assert look.told("ended", f"scheduled__{times[1]}") == {
        "run_id": f"scheduled__{times[1]}",
        "run_type": "scheduled",
        "logical_date": times[1],
        "data_interval_start": times[1],
        "partition_key": None,
        "conf": {},
    }
    assert look.schedules()["ended"]["last_run"] == times[3]


def test_a_timetable_of_a_plugin(box: RunningBox, look: Looker) -> None:
    """It is found through its plugin, and its data intervals are the run's."""
    box.appliance("schedules", "resume", "plugged")
    until(lambda: len(look.executions("plugged")) == 2)

    found = look.told("plugged", "scheduled__2026-01-01T00:00:10+00:00")
    assert found["data_interval_start"] == "2026-01-01T00:00:05+00:00"


def test_a_run_for_a_partition(box: RunningBox, look: Looker) -> None:
    """It has a key, and no logical date."""
    box.appliance("dags", "unpause", "parted")
    (run_id,) = until(lambda: look.executions("parted"))

    found = look.told("parted", run_id)
    assert run_id.startswith("scheduled__2026-01-01T00:00:00+00:00__2026__")
    assert (found["partition_key"], found["logical_date"]) == ("2026", None)


def test_a_saved_file_is_followed(box: RunningBox, look: Looker) -> None:
    """A new file is scheduled, a broken one keeps its schedule and is told, a vanished one loses it."""
    text = 'from airflow.sdk import DAG\ndag = DAG("fresh", schedule="@daily")\n'
    save(box, "dags/fresh.py", text)
    until(lambda: "fresh" in look.schedules())
    save(box, "dags/fresh.py", "from airflow.sdk import DAG\ndag = DAG(\n")
    until(lambda: "fresh.py" in str(look.everything().problems))
    assert "fresh" in look.schedules()

    save(box, "dags/fresh.py", text.replace("@daily", "@weekly"))
    until(lambda: look.schedules()["fresh"]["schedule"] == "0 0 * * 0")
    (box.data.parent / "dags" / "fresh.py").unlink()
    until(lambda: "fresh" not in look.schedules())


def test_two_files_with_one_id_are_both_named(box: RunningBox, look: Looker) -> None:
    """A duplicate DAG id is an error that names both files."""
    text = 'from airflow.sdk import DAG\ndag = DAG("twin", schedule="@daily")\n'
    save(box, "dags/one.py", text)
    save(box, "dags/two.py", text)
    until(lambda: "twin" in str(look.everything().problems))
    said = box.appliance("schedules", "list").stderr

    assert "one.py" in said
    assert "two.py" in said
    for name in ("one.py", "two.py"):
        (box.data.parent / "dags" / name).unlink()


def test_a_configured_schedule(box: RunningBox, look: Looker) -> None:
    """It is active, gives its conf, and an unknown DAG is told with line, column and the nearest id."""
    save(
        box,
        "appliance.yaml",
        "schedules:\n"
        "  soon: {dag: handy, every: 1h, conf: {day: 1}}\n"
        "  wrong: {dag: hourli, every: 1h}\n",
    )
    (run_id,) = until(lambda: look.executions("handy"))
    problems = box.appliance("schedules", "list").stderr

    assert run_id.endswith("__soon")
    assert look.told("handy", run_id)["conf"] == {"day": 1}
    assert 'appliance.yaml:3:16: schedules.wrong: there is no DAG "hourli"' in problems
    assert 'did you mean "hourly"?' in problems
    save(box, "appliance.yaml", "schedules: {}\n")
    until(lambda: "soon" not in look.schedules())


def test_trigger_starts_a_run_of_a_paused_schedule(
    box: RunningBox, look: Looker
) -> None:
    """With the conf it is given; an unknown schedule is an error."""
    words = ("schedules", "trigger", "hourly", "--conf", json.dumps({"day": 2}))
    run_id = box.appliance(*words, "-o", "json").json["hourly"]
    until(lambda: run_id in look.executions("hourly"))
    wrong = box.appliance("schedules", "pause", "hourli")

    assert look.told("hourly", run_id)["conf"] == {"day": 2}
    assert look.told("hourly", run_id)["run_type"] == "manual"
    assert (wrong.code, wrong.stderr.strip()) == (2, "there is no schedule 'hourli'")


def test_a_backfill(box: RunningBox, look: Looker) -> None:
    """It makes the runs of a period as Airflow does, leaves out what there has been, and tells the scheduler."""
    period = ("--from", "2026-02-01T00:00", "--to", "2026-02-01T02:00")
    dry = box.appliance("backfill", "hourly", *period, "--dry-run", "-o", "json").json
    times = [f"2026-02-01T0{hour}:00:00+00:00" for hour in range(3)]
    assert [row["logical_date"] for row in dry] == times

    first = box.appliance("backfill", "hourly", *period, "-o", "json")
    assert first.json == progress(succeeded=3)
    assert look.told("hourly", f"backfill__{times[2]}")["run_type"] == "backfill"
    again = box.appliance("backfill", "hourly", *period, "-o", "json")
    assert again.json == progress(skipped=3)
    words = ("--reprocess", "completed", "--run-backwards", "-o", "json")
    assert box.appliance("backfill", "hourly", *period, *words).json == progress(
        succeeded=3
    )
    until(lambda: look.schedules()["hourly"]["last_run"] == times[2])


def progress(**runs: int) -> dict[str, Any]:
    counts = dict.fromkeys(("waiting", "running", "succeeded", "failed", "skipped"), 0)
    return {"dag_id": "hourly", "errors": [], **counts, **runs}


def test_a_backfill_that_cannot_be(box: RunningBox, look: Looker) -> None:
    """It is refused in Airflow's words, and nothing is started."""
    period = ("--from", "2026-02-01", "--to", "2026-02-02")
    ended = box.appliance("backfill", "handy", *period, "--dry-run")
    backwards = box.appliance("backfill", "hourly", *period[:3], "2026-01-01")
    unknown = box.appliance("backfill", "hourli", *period)

    assert ended.code == backwards.code == unknown.code == 2
    assert "non-periodic schedule that does not support backfills" in ended.stderr
    assert "is after --to" in backwards.stderr
    assert "hourly" in unknown.stderr


def test_a_dag_that_cannot_be_run_here_makes_no_runs(
    box: RunningBox, look: Looker
) -> None:
    """Its schedule says why, as that of one whose assets nobody follows, and goes on once it is mended."""
    text = (
        "from datetime import datetime\n"
        "from airflow.sdk import DAG, Asset\n"
        "from airflow.providers.standard.operators.empty import EmptyOperator\n"
        "with DAG('barred', schedule='@once', start_date=datetime(2026, 1, 1),\n"
        "         is_paused_upon_creation=False):\n"
        "    EmptyOperator(task_id='t', run_as_user='me')\n"
        "idle = DAG('idle', schedule=[Asset('x')])\n"
    )
    save(box, "dags/barred.py", text)
    until(lambda: "barred" in look.schedules())
    said = box.appliance("schedules", "list").stderr
    triggered = box.appliance("schedules", "trigger", "barred")

    why = 'barred.py: DAG "barred", task "t" uses run_as_user'
    assert f"barred: {why}" in said
    assert "idle: asset-triggered runs are not built yet" in said
    assert why in box.appliance("schedules", "show", "barred").stdout
    assert triggered.code == 2
    assert why in triggered.stderr
    assert look.schedules()["barred"]["last_run"] is None
    save(box, "dags/barred.py", text.replace(", run_as_user='me'", ""))
    until(lambda: len(look.executions("barred")) == 1)
    (box.data.parent / "dags" / "barred.py").unlink()


@pytest.mark.long
def test_a_backfill_outlives_its_worker_and_can_be_cancelled(
    box: RunningBox, look: Looker, tmp_path: Path
) -> None:
    """Runs under way go on, no more are made, and the scheduler that was terminated knows of them."""
    period = ("--from", "2026-02-01T00:00", "--to", "2026-02-01T05:00")
    conf = json.dumps({"gate": str(tmp_path)})
    words = ("--max-active-runs", "2", "--conf", conf)
    box.appliance("backfill", "gated", *period, *words, "--detach")
    name = "airflow-backfill-gated"
    until(lambda: len(list(tmp_path.iterdir())) == 2)

    os.kill(the_one(box.process.pid, "appliance worker"), signal.SIGKILL)
    assert box.appliance("backfill", "gated", "--cancel").code == 0
    until(lambda: look.status(name) == "CANCELED")
    again = box.appliance("backfill", "gated", "--cancel")
    assert (again.code, "is not being backfilled" in again.stderr) == (2, True)
    look.terminate("airflow-scheduler-airflow-tasks")
    (tmp_path / "open").touch()
    until(lambda: len(look.executions("gated")) == 2)
    assert look.states("gated") == ["success", "success"]
    box.appliance("schedules", "pause", "gated")
    assert look.schedules()["gated"]["last_run"] == "2026-02-01T01:00:00+00:00"


def test_what_was_decided_is_decided_again(look: Looker) -> None:
    """The scheduler and the backfill can be taken up by another worker at any time: their histories replay."""
    replayer = Replayer(workflows=[AirflowScheduler, AirflowBackfill])
    names = ("airflow-scheduler-airflow-tasks", "airflow-backfill-hourly")
    for name in names:
        history = look.history(name)

        assert len(history.events) > 5
        asyncio.run(replayer.replay_workflow(history))
