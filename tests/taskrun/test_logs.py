"""The log of a try: where it is, what is in it, and how it looks to people."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.taskrun.failure_reason import (
    TRACEBACK_CHARS,
    Failure,
    FailureReasons,
    shortened,
)
from appliance.taskrun.log_paths import log_file, run_folder
from appliance.taskrun.logs import TryLog, render
from appliance.taskrun.masking import Masker
from tests.fakes.runs import a_try

NOW = datetime(2026, 1, 2, 12, 0, 5, 123456, tzinfo=UTC)
FILE = "logs/dag_id=shop/run_id=manual__1/task_id=sum/attempt=1.log"


def write(
    data: Path,
    act: Callable[[TryLog], object],
    masker: Masker | None = None,
    **task: Any,
) -> str:
    """Let ``act`` write a log; return what was echoed."""
    echoed: list[str] = []

    async def run() -> None:
        log = TryLog(
            a_try(**task),
            data=data,
            masker=masker or Masker(),
            now=lambda: NOW,
            echo=echoed.append,
        )
        act(log)
        log.close()

    asyncio.run(run())
    return "".join(echoed)


def event(**fields: Any) -> bytes:
    return json.dumps({"level": "info", "event": "hello", **fields}).encode()


def raised(kind: str, value: str, *frames: tuple[str, int, str]) -> dict[str, Any]:
    return {
        "exc_type": kind,
        "exc_value": value,
        "is_cause": False,
        "frames": [
            {"filename": file, "lineno": line, "name": name}
            for file, line, name in frames
        ],
    }


@pytest.mark.parametrize(
    ("run_id", "map_index", "file"),
    [
        (
            "manual__2026-01-31T09:00:00+00:00",
            -1,
            "run_id=manual__2026-01-31T09:00:00+00:00/task_id=g.t/attempt=2.log",
        ),
        ("r", 3, "run_id=r/task_id=g.t/map_index=3/attempt=2.log"),
        ("../../etc", -1, "run_id=..%2F..%2Fetc/task_id=g.t/attempt=2.log"),
    ],
)
def test_files_lie_where_airflow_puts_them(
    run_id: str, map_index: int, file: str
) -> None:
    """Only a slash, which could lead anywhere, is written differently."""
    found = log_file("d", run_id, "g.t", map_index=map_index, try_number=2)

    assert str(found) == f"logs/dag_id=d/{file}"


def test_names_too_long_for_a_folder_stay_apart() -> None:
    one, other = run_folder("d" * 300, "r"), run_folder("d" * 299 + "e", "r")

    assert one != other
    assert all(len(part) < 255 for part in one.parts)


def test_lines_are_kept_in_airflows_vocabulary(tmp_path: Path) -> None:
    def act(log: TryLog) -> None:
        log.event(event(exception=[raised("ValueError", "no")]))
        log.stdout(b"printed")
        log.event(b"not json")

    write(tmp_path, act)
    first, second, third = map(json.loads, (tmp_path / FILE).read_text().splitlines())

    assert first["error_detail"][0]["exc_type"] == "ValueError"
    assert second == {
        "timestamp": "2026-01-02T12:00:05.123456Z",
        "level": "info",
        "event": "printed",
        "logger": "task.stdout",
    }
    assert third["event"] == "not json"


def test_everything_is_masked_before_it_is_kept(tmp_path: Path) -> None:
    masker = Masker()
    masker.add("hunter22")

    def act(log: TryLog) -> None:
        log.event(event(event="it is hunter22", detail={"deep": ["hunter22"]}))
        log.stdout(b"hunter22")
        log.event(event(level="error", exception=[raised("E", "hunter22")]))
        failure = log.failure()
        assert failure is not None
        assert failure.error == "E: ***"

    echoed = write(tmp_path, act, masker)

    assert "hunter22" not in echoed + (tmp_path / FILE).read_text()


def test_echo_names_the_try_on_every_line(tmp_path: Path) -> None:
    def act(log: TryLog) -> None:
        log.stdout(b"printed")
        log.event(event(event="::group::Log message source details"))
        log.event(
            event(level="error", event="bad", exception=[raised("ValueError", "no")])
        )

    echoed = write(tmp_path, act, map_index=3)

    assert echoed.splitlines() == [
        "shop.sum[3] try 1 | printed",
        "shop.sum[3] try 1 | ERROR bad",
        "shop.sum[3] try 1 |     ValueError: no",
    ]


def test_a_second_poke_adds_to_the_same_file(tmp_path: Path) -> None:
    for _ in range(2):
        write(tmp_path, lambda log: log.say("info", "poke"))

    assert len((tmp_path / FILE).read_text().splitlines()) == 2


def test_lines_are_written_without_waiting_for_the_end(tmp_path: Path) -> None:
    async def run() -> None:
        log = TryLog(
            a_try(),
            data=tmp_path,
            masker=Masker(),
            now=lambda: NOW,
            echo=lambda _text: None,
        )
        log.stdout(b"now")
        deadline = asyncio.get_running_loop().time() + 5
        while not (tmp_path / FILE).exists():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_log_that_cannot_be_written_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")

    def act(log: TryLog) -> None:
        for _ in range(3):
            log.stdout(b"x")
            log.flush()

    echoed = write(tmp_path, act)

    assert echoed.count("x") == 3
    assert capsys.readouterr().err.count("its log is not kept") == 1


def test_a_lone_surrogate_is_no_reason_to_stop(tmp_path: Path) -> None:
    write(tmp_path, lambda log: log.event(rb'{"level": "info", "event": "\ud800"}'))

    assert json.loads((tmp_path / FILE).read_text())["event"] == "\ud800"


def test_rendered_traceback_has_source_lines_and_no_runner_frames(
    tmp_path: Path,
) -> None:
    dag = tmp_path / "shop.py"
    dag.write_text("def load():\n    raise ValueError('no rows')\n")
    stack = raised(
        "ValueError",
        "no rows",
        ("/x/airflow/sdk/execution_time/task_runner.py", 10, "run"),
        (str(dag), 2, "load"),
    )
    cause = {**raised("KeyError", "'a'"), "is_cause": True}
    line = event(
        timestamp="2026-01-02T12:00:05.123456Z",
        level="error",
        event="Task failed with exception",
        error_detail=[stack, cause],
        ti_id="x",
        rows=0,
    ).decode()

    assert render(line).splitlines() == [
        "2026-01-02 12:00:05.123 ERROR Task failed with exception rows=0",
        "KeyError: 'a'",
        "",
        "The above exception was the direct cause of the following exception:",
        "",
        "Traceback (most recent call last):",
        f'  File "{dag}", line 2, in load',
        "    raise ValueError('no rows')",
        "ValueError: no rows",
    ]


def test_a_line_that_is_not_json_is_shown_as_it_is() -> None:
    assert render("half a li\n") == "half a li"
    assert render(event(event="Worker startup parse complete", x=1).decode()) == ""


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([], None),
        ([{"level": "info", "event": "fine"}], None),
        ([{"level": "error", "event": "no DAG"}], "no DAG"),
        (
            [
                {
                    "level": "error",
                    "event": "Task failed with exception",
                    "error_detail": [raised("ValueError", "no rows\nat all")],
                },
                {
                    "level": "error",
                    "event": "Failed to run task callback",
                    "error_detail": [raised("KeyError", "'x'")],
                },
            ],
            "ValueError: no rows",
        ),
        (
            [{"level": "error", "event": "Task exited", "exit_code": 3}],
            "SystemExit: 3",
        ),
        (
            [
                {"level": "error", "event": "bad", "logger": "app"},
                {"level": "error", "event": "warming up", "logger": "task.stderr"},
            ],
            "bad",
        ),
        (
            [
                {
                    "level": "error",
                    "event": "Task failed with exception",
                    "error_detail": [
                        raised(
                            "AirflowRuntimeError",
                            "GENERIC_ERROR: {'message': 'asset events are not "
                            "supported yet by this appliance'}",
                        )
                    ],
                }
            ],
            "asset events are not supported yet by this appliance",
        ),
    ],
)
def test_the_error_is_what_the_runner_calls_the_failure(
    events: list[dict[str, Any]], error: str | None
) -> None:
    failures = FailureReasons()
    for one in events:
        failures.see(one)

    told = failures.text()
    assert error == (told.error if isinstance(told, Failure) else None)


@pytest.mark.parametrize("letter", ["a", "ä", "😀"])
def test_a_long_traceback_keeps_its_ends(letter: str) -> None:
    text = shortened("first\n" + letter * 100_000 + "\nlast")

    assert len(text.encode()) <= TRACEBACK_CHARS
    assert text.startswith("first")
    assert text.endswith("last")
