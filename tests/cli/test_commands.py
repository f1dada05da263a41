"""What the other commands print and exit with, and what ``--help`` tells."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.cli.context import CommandContext
from appliance.cli.log_tail import LogTail
from appliance.cli.main import appliance
from appliance.config.model import Config
from appliance.dagfile.models import FileError, ListedDag, Listing
from appliance.errors import ConfigError
from appliance.runs.messages import Response
from appliance.runs.reports import RunRow
from appliance.temporal.health import PartHealth, ProbeResult
from tests.cli.conftest import Type
from tests.fakes.server import RUN_ID, FakeServer, ended


def commands(
    group: click.Group, *names: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


@pytest.mark.parametrize(
    "words", [words for words, _ in commands(appliance)], ids=" ".join
)
def test_help_has_an_example(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(appliance, [*words, "--help"], prog_name="appliance")

    assert result.exit_code == 0
    assert "Example" in result.output
    assert words[-1] in result.output.split("Example")[1]


def test_help_imports_nothing_heavy() -> None:
    """``--help`` must be instant, and ``submit`` must never import Airflow."""
    heavy = "{'airflow', 'temporalio', 'yaml', 'asyncio', 'supervisor'}"
    code = (
        "import sys, appliance.cli.main, appliance.__main__; "
        f"sys.exit(str({heavy} & set(sys.modules) or ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert done.stderr.strip() == ""


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "runs", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stdout.startswith("Usage: appliance runs ")


def test_runs_list(enter: Type, server: FakeServer) -> None:
    server.found_runs = [RunRow(RUN_ID, "manual", "success", None, "a", "b", "w")]

    assert json.loads(enter("runs", "list", "my_dag", "-o", "json").stdout) == [
        {
            "dag_id": "my_dag",
            "run_id": RUN_ID,
            "run_type": "manual",
            "state": "success",
            "logical_date": None,
            "start_date": "a",
            "end_date": "b",
            "workflow_id": "w",
        }
    ]
    assert RUN_ID in enter("runs", "list", "my_dag").stdout


def test_no_runs_is_an_empty_list_for_programs(enter: Type, server: FakeServer) -> None:
    server.listing = Listing((ListedDag("my_dag", "my_dag.py"),))

    assert json.loads(enter("runs", "list", "my_dag", "-o", "json").stdout) == []


def test_long_values_are_cut_in_the_table_and_whole_for_programs(
    enter: Type, server: FakeServer
) -> None:
    value = "x" * 1000
    server.found_xcoms = [{"task_id": "a", "map_index": -1, "key": "k", "value": value}]

    shown = enter("xcoms", "my_dag", RUN_ID).stdout
    (row,) = json.loads(enter("xcoms", "my_dag", RUN_ID, "-o", "json").stdout)

    assert f'"{"x" * 199}... (802 more, see -o json)' in shown
    assert row["value"] == value


def test_runs_wait_exits_as_the_run_ended(enter: Type) -> None:
    failed = FakeServer(story=(ended("failed"),))

    assert enter("runs", "wait", "my_dag", RUN_ID, "-o", "json").exit_code == 0
    result = enter("runs", "wait", "my_dag", RUN_ID, "-o", "json", on=failed)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["state"] == "failed"


def test_an_unknown_run_exits_2(enter: Type) -> None:
    assert enter("runs", "wait", "other", RUN_ID).exit_code == 2


def test_cancel_names_the_workflow(enter: Type, server: FakeServer) -> None:
    assert enter("cancel", "my_dag", RUN_ID).exit_code == 0
    assert server.cancelled == [f"dag-my_dag-{RUN_ID}"]


def test_a_question_is_answered_as_typed(enter: Type, server: FakeServer) -> None:
    words = ("my_dag", RUN_ID, "ask", "--map-index", "2", "--user", "bob")
    chosen = ("--choose", "a", "--choose", "b", "--params", '{"n": 1}')

    assert enter("respond", *words, *chosen).exit_code == 0
    assert enter("approve", *words).exit_code == 0
    assert enter("reject", *words).exit_code == 0

    workflow = f"dag-my_dag-{RUN_ID}"
    assert server.responses == [
        (workflow, Response("ask", ("a", "b"), 2, {"n": 1}, "bob")),
        (workflow, Response("ask", ("Approve",), 2, {}, "bob")),
        (workflow, Response("ask", ("Reject",), 2, {}, "bob")),
    ]


def test_xcoms(enter: Type, server: FakeServer) -> None:
    row = {"task_id": "t", "map_index": -1, "key": "return_value", "value": {"a": [1]}}
    server.found_xcoms = [row]

    assert json.loads(enter("xcoms", "my_dag", RUN_ID, "-o", "json").stdout) == [row]
    assert '{"a": [1]}' in enter("xcoms", "my_dag", RUN_ID).stdout


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_dags(enter: Type, server: FakeServer) -> None:
    error = FileError("broken.py", 3, "ModuleNotFoundError: no 'x'")
    server.listing = Listing(
        (ListedDag("my_dag", "my_dag.py", owners=("a", "b")),), (error,)
    )

    listed = enter("dags", "list")
    assert listed.exit_code == 0
    assert ["my_dag", "my_dag.py", "a,", "b"] in rows(listed.stdout)
    assert "appliance dags errors" in listed.stderr
    errors = enter("dags", "errors", "-o", "json")
    assert errors.exit_code == 1
    assert json.loads(errors.stdout) == [
        {"file": "broken.py", "line": 3, "error": "ModuleNotFoundError: no 'x'"}
    ]
    assert "broken.py:3\n    ModuleNotFoundError" in enter("dags", "errors").stdout


def test_no_errors_exits_0(enter: Type) -> None:
    result = enter("dags", "errors", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_config_show_masks_secrets(enter: Type) -> None:
    shown = enter("config", "show").stdout

    assert "postgres" in shown
    assert "api_key" in shown
    assert "hunter" not in shown


def test_config_check_counts(enter: Type) -> None:
    result = enter("config", "check")

    assert result.exit_code == 0
    assert "1 connections, 1 variables" in result.stdout


def test_config_check_says_what_was_done_to_values(config: Config) -> None:
    noted = replace(config, notes=("a.yaml:1:2: the line end is left out",))
    box = CommandContext(load=lambda: noted)
    result = CliRunner().invoke(appliance, ["config", "check"], obj=box)

    assert result.stderr == "a.yaml:1:2: the line end is left out\n"


def test_config_schema_is_json(enter: Type) -> None:
    assert json.loads(enter("config", "schema").stdout)["title"] == "appliance.yaml"


def test_wrong_configuration_exits_2_with_its_lines() -> None:
    def load() -> Config:
        raise ConfigError("conf/appliance.yaml:17:5: unknown key 'conectons'")

    result = CliRunner().invoke(
        appliance, ["config", "check"], obj=CommandContext(load=load)
    )

    assert result.exit_code == 2
    assert result.stderr == "conf/appliance.yaml:17:5: unknown key 'conectons'\n"


@pytest.mark.parametrize(
    ("server", "worker", "code"), [(True, True, 0), (True, False, 3), (False, False, 3)]
)
def test_health_fails_closed(
    enter: Type, *, server: bool, worker: bool, code: int
) -> None:
    box = FakeServer()
    box.health = ProbeResult(PartHealth(server, "x"), PartHealth(worker, "no poller"))
    result = enter("health", on=box)

    assert result.exit_code == code
    assert ("no poller" in result.stdout) == (not worker)


def test_health_without_server_exits_3(enter: Type, server: FakeServer) -> None:
    server.is_up = False

    assert enter("health").exit_code == 3


def log(config: Config, task: str, attempt: int, *lines: str) -> Path:
    folder = config.data / "logs/dag_id=my_dag" / f"run_id={RUN_ID}" / task
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"attempt={attempt}.log"
    rows = [
        {"timestamp": "2026-01-31T09:00:00Z", "level": "info", "event": line}
        for line in lines
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_logs_of_a_run_a_task_a_try(enter: Type, config: Config) -> None:
    log(config, "task_id=extract", 1, "one")
    log(config, "task_id=extract", 2, "two")
    log(config, "task_id=load/map_index=3", 1, "three")

    everything = enter("logs", "my_dag", RUN_ID).stdout
    assert [line.split(" | ")[0] for line in everything.splitlines()] == [
        "extract try 1",
        "extract try 2",
        "load[3] try 1",
    ]
    second = enter("logs", "my_dag", RUN_ID, "extract", "--try", "2").stdout
    assert second.startswith("extract try 2 | ")
    assert second.endswith("two\n")
    mapped = enter("logs", "my_dag", RUN_ID, "load", "--map-index", "3").stdout
    assert mapped.endswith("three\n")


def test_logs_as_json_are_the_events_as_they_are_kept(
    enter: Type, config: Config
) -> None:
    file = log(config, "task_id=load/map_index=3", 2, "three")
    with file.open("a") as more:
        more.write("no json\nhalf a li")

    lines = enter("logs", "my_dag", RUN_ID, "-o", "json").stdout.splitlines()
    whose = {"task_id": "load", "map_index": 3, "try_number": 2}
    stamp = {"timestamp": "2026-01-31T09:00:00Z", "level": "info"}
    assert [json.loads(line) for line in lines] == [
        {**whose, **stamp, "event": "three"},
        {**whose, "event": "no json"},
    ]


def test_a_log_line_ends_where_its_file_says(enter: Type, config: Config) -> None:
    file = log(config, "task_id=extract", 1)
    row = {"level": "info", "event": "one\u2028two\x85three"}
    file.write_text(json.dumps(row, ensure_ascii=False) + "\n")

    shown = enter("logs", "my_dag", RUN_ID).stdout
    assert shown.replace("extract try 1 | ", "").split() == ["one", "two", "three"]


def test_a_tail_gives_each_line_once_and_only_whole_ones(config: Config) -> None:
    file = log(config, "task_id=extract", 1, "one")
    tail = LogTail(config.data, dag_id="my_dag", run_id=RUN_ID)
    assert len(list(tail.lines())) == 1
    assert list(tail.lines()) == []
    with file.open("a") as more:
        more.write('{"event": "tw')
        more.flush()
        assert list(tail.lines()) == []
        more.write('o"}\n')
    assert list(tail.lines()) == ["extract try 1 | two"]
    file.unlink()
    assert list(tail.lines()) == []


def test_logs_follow_ends_with_the_run(enter: Type, config: Config) -> None:
    log(config, "task_id=extract", 1, "one")
    result = enter("logs", "my_dag", RUN_ID, "--follow")

    assert result.exit_code == 0
    assert result.stdout.count("one") == 1


def test_logs_that_are_not_there_exit_2(enter: Type) -> None:
    result = enter("logs", "my_dag", RUN_ID, "extract")

    assert result.exit_code == 2
    assert "no such log" in result.stderr
