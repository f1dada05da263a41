"""What ``submit`` asks for, prints and exits with."""

import asyncio
import json
from pathlib import Path

import pytest

from appliance.cli.command import Interrupted
from appliance.cli.waiting import wait_for
from appliance.config.model import Config
from appliance.sockets.submit_request import SubmitRequest
from appliance.temporal.messages import TaskRow
from tests.cli.conftest import Type
from tests.fakes.server import RUN_ID, URL, FakeServer, ended, running

LOAD_FAILED = TaskRow("load", 3, "failed", 2, "2026-01-31T09:00:01+00:00", None, "x")
EXTRACT_OK = TaskRow("extract", -1, "success", 1)
NEVER = TaskRow("report", -1, None, 0)


def test_prints_workflow_and_link_at_once(enter: Type) -> None:
    result = enter("submit", "my_dag", "--run-id", RUN_ID)

    assert result.exit_code == 0
    assert f"workflow  dag-my_dag-{RUN_ID}" in result.stdout
    assert URL in result.stdout


def test_the_run_id_is_chosen_before_anybody_is_asked(
    enter: Type, server: FakeServer
) -> None:
    result = enter("submit", "my_dag", "-o", "json")
    again = enter("submit", "my_dag", "-o", "json")

    first, second = server.requests
    assert json.loads(result.stdout)["run_id"] == first.run_id
    assert json.loads(again.stdout)["run_id"] == second.run_id
    assert first.run_id == f"manual__{first.logical_date}"
    assert first.token != second.token
    assert first.named("later") == first


def test_asks_for_what_was_typed(enter: Type, server: FakeServer) -> None:
    words = ["--dag-file", "a/b.py", "--run-id", "r1", "--logical-date", "2026-01-31"]
    result = enter("submit", "my_dag", *words, "--conf", '{"day": 1}')

    assert result.exit_code == 0
    asked = server.requests[0]
    assert (asked.dag_id, asked.dag_file, asked.run_id) == ("my_dag", "a/b.py", "r1")
    assert asked.logical_date == "2026-01-31T00:00:00+00:00"
    assert asked.is_dated
    assert asked.conf == {"day": 1}
    assert asked.secrets is None
    assert server.waited_s == 30.0


def test_a_run_may_have_no_logical_date(enter: Type, server: FakeServer) -> None:
    assert enter("submit", "my_dag", "--logical-date", "none").exit_code == 0

    asked = server.requests[0]
    assert (asked.logical_date, asked.is_dated) == (None, False)


def test_conf_is_read_from_a_file(
    enter: Type, server: FakeServer, tmp_path: Path
) -> None:
    file = tmp_path / "conf.json"
    file.write_text('{"day": 2}')

    assert enter("submit", "my_dag", "--conf", f"@{file}").exit_code == 0
    assert server.requests[0].conf == {"day": 2}


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ('{"day": }', "line 1, column 9"),
        ('{"day": 1,\n "hour" 2}', "line 2, column 9"),
        ("", "line 1, column 1"),
        ("[1, 2]", "must be a JSON object"),
        ('"text"', "must be a JSON object"),
        ('{"rate": NaN}', "NaN is not JSON"),
        ("@absent.json", "absent.json cannot be read"),
    ],
)
def test_wrong_conf_is_a_usage_error(
    enter: Type, server: FakeServer, conf: str, said: str
) -> None:
    result = enter("submit", "my_dag", "--conf", conf)

    assert result.exit_code == 2
    assert said in result.stderr
    assert not server.requests


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["my_dag", "--logical-date", "yesterday"],
        ["my_dag", "--timeout", "5"],
        ["my_dag", "--wait", "--timeout", "0"],
        ["my_dag", "--wait", "--timeout", "nan"],
        ["my_dag", "-o", "yaml"],
        ["my_dag", "--connections", "absent.json"],
    ],
)
def test_wrong_words_are_usage_errors(enter: Type, words: list[str]) -> None:
    result = enter("submit", *words)

    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_a_refused_dag_exits_2_and_says_why(enter: Type) -> None:
    result = enter("submit", "my_dga", "-o", "json", "--wait")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Did you mean 'my_dag'?" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_server_exits_3(enter: Type, server: FakeServer) -> None:
    server.is_up = False
    result = enter("submit", "my_dag")

    assert result.exit_code == 3
    assert "does not answer" in result.stderr


def test_json_with_wait_is_exactly_one_object(enter: Type) -> None:
    story = (ended("failed", EXTRACT_OK, LOAD_FAILED, NEVER),)
    result = enter(
        "submit", "my_dag", "--wait", "-o", "json", on=FakeServer(story=story)
    )

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "dag_id": "my_dag",
        "run_id": RUN_ID,
        "workflow_id": f"dag-my_dag-{RUN_ID}",
        "state": "failed",
        "start_date": "2026-01-31T09:00:00+00:00",
        "end_date": "2026-01-31T09:00:02.500000+00:00",
        "duration_s": 2.5,
        "url": URL,
        "tasks_succeeded": 1,
        "tasks_failed": 1,
        "tasks": [
            task("extract", -1, "success", 1),
            {
                **task("load", 3, "failed", 2),
                "start_date": "2026-01-31T09:00:01+00:00",
                "rendered_map_index": "x",
            },
            task("report", -1, None, 0),
        ],
    }
    assert URL in result.stderr


def task(
    task_id: str, map_index: int, state: str | None, tries: int
) -> dict[str, object]:
    return {
        "task_id": task_id,
        "map_index": map_index,
        "state": state,
        "try_number": tries,
        "start_date": None,
        "end_date": None,
        "rendered_map_index": None,
    }


def test_json_without_wait_names_the_run(enter: Type) -> None:
    result = enter("submit", "my_dag", "-o", "json", "--run-id", RUN_ID)

    assert json.loads(result.stdout)["run_id"] == RUN_ID


def test_wait_prints_a_table_and_where_to_see_why(enter: Type) -> None:
    story = (ended("failed", EXTRACT_OK, LOAD_FAILED, NEVER),)
    result = enter("submit", "my_dag", "--wait", on=FakeServer(story=story))

    assert result.exit_code == 1
    assert "failed: 1 succeeded, 1 failed of 3 tasks in 2.5 s" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["extract", "success", "1"] in lines
    assert ["report", "no_status", "0"] in lines
    assert f"appliance logs my_dag {RUN_ID} load --map-index 3" in result.stderr


def test_wide_runs_show_failures_and_say_what_is_left_out(enter: Type) -> None:
    wide = [TaskRow("load", i, "success", 1) for i in range(150)]
    wide[120] = TaskRow("load", 120, "failed", 1)
    story = (ended("failed", *wide),)
    result = enter("submit", "my_dag", "--wait", on=FakeServer(story=story))

    assert ["load", "120", "failed", "1"] in [
        line.split() for line in result.stdout.splitlines()
    ]
    assert "50 more" in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "my_dag", "--wait", "--run-id", RUN_ID),
        ("runs", "wait", "my_dag", RUN_ID),
    ],
)
def test_timeout_exits_124_and_leaves_the_run(
    enter: Type, server: FakeServer, words: tuple[str, ...]
) -> None:
    server.never_ends = True
    result = enter(*words, "--timeout", "0.05")

    assert result.exit_code == 124
    assert f"The run goes on. Look again: appliance runs wait my_dag {RUN_ID}" in (
        result.stderr
    )
    assert server.cancelled == []


def test_follow_interleaves_states_and_logs(enter: Type, config: Config) -> None:
    attempt = (
        config.data
        / f"logs/dag_id=my_dag/run_id={RUN_ID}/task_id=extract/attempt=1.log"
    )
    attempt.parent.mkdir(parents=True)
    line = {"timestamp": "2026-01-31T09:00:00Z", "level": "info", "event": "hello"}
    attempt.write_text(json.dumps(line) + "\n")
    begun = TaskRow("extract", -1, "running", 1)
    story = (running(begun), ended("success", EXTRACT_OK))
    words = ("submit", "my_dag", "--follow", "--run-id", RUN_ID)
    result = enter(*words, on=FakeServer(story=story))

    assert result.exit_code == 0
    told = [
        line for line in result.stdout.splitlines() if line.startswith("extract try")
    ]
    assert told[0] == "extract try 1: running"
    assert told[1].startswith("extract try 1 | ")
    assert told[1].endswith("hello")
    assert told[2] == "extract try 1: success"
    assert len(told) == 3


def test_ctrl_c_leaves_the_run_and_says_so() -> None:
    async def interrupted() -> None:
        server = FakeServer()
        server.never_ends = True
        run = await server.submit(appliance_request())
        waiting = asyncio.ensure_future(wait_for(server, run, timeout_s=None))
        await asyncio.sleep(0)
        waiting.cancel()
        await waiting

    with pytest.raises(Interrupted, match="The run goes on") as caught:
        asyncio.run(interrupted())

    assert caught.value.exit_code == 130


def appliance_request() -> SubmitRequest:
    return SubmitRequest(dag_id="my_dag")
