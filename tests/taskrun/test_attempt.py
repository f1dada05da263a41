"""Real tries in real children of a real zygote."""

import ast
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.config.model import Connection, Secrets
from appliance.dagrun.attempt import Callback, TaskExecutionResult, XComRow
from appliance.dagrun.states import TaskState
from appliance.forkserver.control import Zygote
from appliance.taskrun import xcom_objects
from appliance.taskrun.prefork import PreforkedChildren
from tests.fakes.runs import FakeRun
from tests.forkserver.test_zygote import is_running
from tests.taskrun.conftest import NOON, Box, a_try, zygote_env

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),
]


def db(conn_id: str, word: str) -> Connection:
    return Connection(conn_id, conn_type="http", password=word)


def values(result: TaskExecutionResult) -> dict[str, Any]:
    return {row.key: row.value for row in result.xcoms}


async def until(fact: Any) -> None:
    """Wait for a condition; the test's own timeout is the deadline."""
    while not fact():  # noqa: ASYNC110 - another process makes it true
        await asyncio.sleep(0.01)


async def test_callbacks_that_take_too_long_are_killed(box: Box) -> None:
    hangs = Callback(is_failure=True, reason="task_failure", end_date=NOON)

    result = await box.run("", host=box.host(callbacks_s=3.0), callback=hangs)

    log = box.log(result)
    assert "never comes back" in log
    assert "the callbacks took more than 3 s and were killed" in log


async def test_success_brings_return_value_and_output(box: Box) -> None:
    result = await box.run("answer", conf={"day": 7})

    assert result.state == TaskState.SUCCESS
    assert values(result) == {"return_value": {"n": 42, "day": 7}}
    assert result.error is None
    events = [json.loads(line) for line in box.log(result).splitlines()]
    printed = {event["event"]: event for event in events}
    assert printed["to stdout"]["logger"] == "task.stdout"
    assert printed["to stderr"]["level"] == "error"
    assert "::endgroup::" in printed


async def test_failure_has_headline_and_traceback(box: Box) -> None:
    result = await box.run("fails")

    assert result.state == TaskState.FAILED
    assert result.error is not None
    assert result.error.splitlines()[0] == "ValueError: no rows"
    assert 'raise ValueError("no rows")' in result.error


@pytest.mark.parametrize(
    ("task_id", "try_number", "state"),
    [
        ("fails", 1, TaskState.UP_FOR_RETRY),
        ("fails", 2, TaskState.FAILED),
        ("fails_for_good", 1, TaskState.FAILED),
    ],
)
async def test_retries_are_airflows(
    box: Box, task_id: str, try_number: int, state: TaskState
) -> None:
    result = await box.run(task_id, try_number=try_number, max_tries=1)

    assert result.state == state


async def test_what_was_logged_tells_more_than_an_exit_code(box: Box) -> None:
    result = await box.run("complains", conf={"code": 5})

    assert result.error == "the disk is full\nits process exited with code 5"


async def test_try_dies_with_its_zygote(box: Box, tmp_path: Path) -> None:
    zygote = await box.read()
    mark = tmp_path / "waits"
    other = asyncio.create_task(
        box.run("waits", zygote=zygote, conf={"path": str(mark)})
    )
    await until(mark.exists)

    killer = await box.run("kills_zygote", zygote=zygote)

    for result in (killer, await other):
        assert result.state == TaskState.FAILED
        assert result.error == "killed: the process it was forked from died"
    assert zygote.closed.done()


async def test_cancelling_calls_on_kill_and_ends_a_busy_loop(box: Box) -> None:
    box.printed.clear()
    trying = asyncio.create_task(box.run("endless", host=box.host(grace_s=0.5)))
    await until(lambda: "looping" in "".join(box.printed))
    begin = time.monotonic()

    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying

    assert 0.5 <= time.monotonic() - begin < 3
    assert "on_kill was called" in "".join(box.printed)


async def test_process_left_behind_does_not_hold_up_the_try(
    box: Box, tmp_path: Path
) -> None:
    mark = tmp_path / "pid"
    begin = time.monotonic()

    result = await box.run("leaves_process", conf={"path": str(mark)})

    assert result.state == TaskState.SUCCESS
    assert time.monotonic() - begin < 5
    assert "left it running" in box.log(result)
    await until(lambda: not is_running(int(mark.read_text())))


async def test_long_lines_are_cut_in_linear_time(box: Box) -> None:
    begin = time.monotonic()

    result = await box.run("prints_much")

    assert result.state == TaskState.SUCCESS
    assert time.monotonic() - begin < 15
    lines = box.log(result).splitlines()
    assert max(map(len, lines)) < 1_100_000
    assert any("[2000000 bytes cut]" in line for line in lines)


async def test_all_that_is_printed_is_logged_in_its_order(box: Box) -> None:
    """Also what programs and forks of the task print, and a logger of the user's own says at INFO."""
    result = await box.run("says_all")

    said = [json.loads(line)["event"] for line in box.log(result).splitlines()]
    ours = ("line ", "program ", "of a ")
    expected = []
    for number in range(10_000):
        expected.append(f"line {number}")
        if number % 1000 == 0:
            expected.append(f"program {number}")
    expected += ["of a logger of its own", "of a fork"]
    printed = [line for line in said if line.startswith(ours)]
    assert sorted(printed) == sorted(expected)
    own = [line for line in expected if line != "of a logger of its own"]
    assert [line for line in printed if line in set(own)] == own


async def test_secrets_of_two_runs_never_mix(box: Box) -> None:
    def run(word: str) -> FakeRun:
        return FakeRun(own=Secrets({"db": db("db", f"pass-{word}-")}, {"word": word}))

    configured = Secrets({"db": db("db", "configured")})
    host = box.host(secrets=configured)
    words = [f"word{number}" for number in range(6)]

    results = await asyncio.gather(
        *(box.run("secret", run=run(word), is_sealed=True, host=host) for word in words)
    )

    assert [values(result)["return_value"] for result in results] == [
        f"pass-{word}-{word}" for word in words
    ]


async def test_submitted_secret_wins_over_the_environment(box: Box) -> None:
    own = Secrets({"env_db": db("env_db", "submitted")})

    sealed = await box.run("tells_env", run=FakeRun(own=own), is_sealed=True)
    plain = await box.run("tells_env")

    assert values(sealed)["return_value"] == "submitted"
    assert values(plain)["return_value"] == "environment"


async def test_secrets_are_masked_in_the_log(box: Box) -> None:
    secrets = Secrets({"db": db("db", "open-sesame")})
    box.printed.clear()

    result = await box.run("tells", host=box.host(secrets=secrets))

    assert "it is ***" in box.log(result)
    assert "open-sesame" not in box.log(result) + "".join(box.printed)


async def test_values_keep_their_types(box: Box) -> None:
    made = await box.run("rich")

    read = await box.run(
        "reads", conf={"task_id": "rich"}, xcoms=made.xcoms, complete=("rich",)
    )

    text = values(read)["return_value"]
    assert "DateTime(2026, 3, 4, 5, 6" in text or "datetime(2026, 3, 4" in text
    assert "'pair': (1, 2)" in text
    assert "'set': {3}" in text


@pytest.mark.parametrize("size", [10, 20_000])
async def test_value_is_what_airflows_default_makes_of_it_whatever_its_size(
    box: Box, size: int
) -> None:
    made = await box.run("nested", conf={"size": size})
    (row,) = made.xcoms
    assert isinstance(row.value, str) == (size > 16384)

    read = await box.run(
        "reads", conf={"task_id": "nested"}, xcoms=made.xcoms, complete=("nested",)
    )

    (text,) = [one.value for one in await xcom_objects.resolve(box.zygote, read.xcoms)]
    told = {"('a', 1)": (1, [(2,)]), "2024-01-01": {3}, "rows": [{"k": (4,)}]}
    assert ast.literal_eval(text) == {**told, "filler": "x" * size}


@pytest.mark.parametrize("size", [10, 20_000])
@pytest.mark.parametrize(
    ("value", "why"), [("nan", "Out of range float"), ("reserved", "reserved key")]
)
async def test_value_airflow_refuses_is_refused_whatever_its_size(
    box: Box, value: str, why: str, size: int
) -> None:
    result = await box.run("unfit", conf={"value": value, "size": size})

    assert (result.state, result.xcoms) == (TaskState.FAILED, ())
    assert why in box.log(result)


async def test_programs_that_a_task_starts_need_no_backend_of_ours(box: Box) -> None:
    result = await box.run("asks_python")

    assert values(result)["return_value"] == "XComObjectStorageBackend\n"


async def test_large_xcom_goes_to_the_object_store_and_back(box: Box) -> None:
    made = await box.run("large")

    (row,) = made.xcoms
    assert row.value.startswith(f"file://{box.data}/xcom/tries/manual__1/large/")
    assert made.return_length is None
    assert (await xcom_objects.resolve(box.zygote, made.xcoms))[0].value == [
        "é"
    ] * 500_000
    read = await box.run(
        "reads", conf={"task_id": "large"}, xcoms=made.xcoms, complete=("large",)
    )
    assert read.xcoms[0].value.startswith("file://")


async def test_xcoms_in_the_object_store_are_purged_by_run(box: Box) -> None:
    made = await box.run("large")
    file = Path(made.xcoms[0].value.removeprefix("file://"))
    beside = box.data / "beside"
    beside.mkdir()

    await xcom_objects.purge(
        box.zygote, [("tries", "other"), ("..", "beside"), (".", "tries")]
    )
    assert file.exists()  # noqa: ASYNC240 - a look
    assert beside.exists()
    await xcom_objects.purge(box.zygote, [("tries", "manual__1")])
    assert not file.parents[1].exists()


@pytest.mark.parametrize("task_id", ["rich", "points"])
async def test_xcom_over_budget_is_stored(box: Box, task_id: str) -> None:
    made = await box.run(task_id, xcom_budget_bytes=10)
    inline = await box.run(task_id)

    (row,) = made.xcoms
    assert row.value.startswith("file://")
    resolved = await xcom_objects.resolve(
        box.zygote, [*made.xcoms, XComRow("a", -1, "k", 1)]
    )
    assert resolved[1].value == 1
    assert resolved[0].value.keys() == inline.xcoms[0].value.keys()


async def test_airflows_own_object_storage_backend_can_be_chosen(
    tmp_path: Path,
) -> None:
    backend = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"
    env = {**zygote_env(tmp_path), "AIRFLOW__CORE__XCOM_BACKEND": backend}
    base = await Zygote.start(env=env, preload=["appliance.taskrun.child"])
    box = Box(data=tmp_path, base=base, zygote=base, preforked=PreforkedChildren())
    try:
        box.zygote = await box.read()
        made = await box.run("points", xcom_budget_bytes=10)
        resolved = await xcom_objects.resolve(box.zygote, made.xcoms)
    finally:
        await box.preforked.close()
        base.close()

    assert made.xcoms[0].value.startswith("file://")
    assert resolved[0].value["b"][0]["__data__"] == {"x": 2}


async def test_real_parse_when_nothing_is_injected(box: Box) -> None:
    zygote = await box.read(is_reparsed=True)

    result = await box.run("answer", zygote=zygote)

    assert result.state == TaskState.SUCCESS
    zygote.retire()
    await zygote.closed


async def test_callback_after_the_end_is_bounded(box: Box) -> None:
    result = await box.run("slow_callback", host=box.host(overtime_s=0.5, grace_s=0.5))

    assert result.state == TaskState.SUCCESS
    assert "took too long" in box.log(result)


async def test_out_of_memory_hits_tries_first(box: Box) -> None:
    assert values(await box.run("score")) == {"return_value": 800}


async def test_bash_operator(box: Box) -> None:
    result = await box.run("bash")

    assert "2026-01-02" in box.log(result)
    assert values(result) == {"return_value": "w"}


async def test_try_of_a_lost_zygote_has_not_begun(box: Box) -> None:
    zygote = await box.read()
    zygote.close()

    with pytest.raises(Exception, match="zygote"):
        await box.host().run_try(a_try("noop", facts={}), zygote=zygote, run=FakeRun())
