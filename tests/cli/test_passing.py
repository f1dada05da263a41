"""What people pass to ``submit`` on a real box, and what they are told of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box import RunningBox, clean_environ, ports, run, running_box

pytestmark = pytest.mark.needs_server


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("passing")
    with running_box(dags=Path(__file__).parent / "dags", folder=folder) as started:
        yield started


def pushed(box: RunningBox, dag_id: str, run_id: str) -> dict[str, Any]:
    rows = box.appliance("xcoms", dag_id, run_id, "-o", "json").json
    return {row["task_id"]: row["value"] for row in rows}


def test_numbers_keep_their_value_from_submit_through_tasks_triggers_and_runs(
    box: RunningBox,
) -> None:
    conf = {
        "wide": 18446744073709551616,
        "below": -(2**70),
        "long": int("9" * 4000),
        "one": 1.0,
        "small": 1e-7,
        "most": 2**64 - 1,
        "text": "a\u0000\U0001f600",
    }

    ended = box.submit("passes", "--conf", json.dumps(conf), "--wait", "-o", "json")

    assert ended.code == 0, ended.stderr
    found = pushed(box, "passes", ended.json["run_id"])
    kinds = {key: type(value).__name__ for key, value in conf.items()}
    assert found["given"] == conf
    assert found["pulled"] == {"value": conf, "kinds": kinds}
    assert found["templated"] == f"{2**64} {-(2**70)} 1.0"
    assert found["waits"] == 2**70
    received = pushed(box, "receives", "started")["given"]
    assert received == {"wide": 2**64, "one": 1.0}
    assert isinstance(received["one"], float)


HOSTILE = {
    "deep": ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "within one another"),
    "deeper than is passed on": ('{"a":' + "[" * 101 + "]" * 101 + "}", "within one"),
    "large": ('{"a": "' + "x" * 60_000_000 + '"}', "60.0 MB as JSON; Temporal takes"),
    "half a character": (r'{"a": [{"b": "\ud800"}]}', "a[0].b: text with half of a"),
    "half a character as key": (r'{"\udc00": 1}', "half of a surrogate pair"),
    "infinite": ('{"a": 1e400}', "a: inf is not JSON"),
    "no number": ('{"a": NaN}', "NaN is not JSON"),
    "long number": ('{"a": 1' + "0" * 5000 + "}", "more than 4300 digits"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_conf_that_would_not_reach_a_task_is_refused_in_a_line(
    box: RunningBox, tmp_path: Path, name: str
) -> None:
    text, said = HOSTILE[name]
    (tmp_path / "conf.json").write_text(text)

    ended = box.submit("receives", "--conf", f"@{tmp_path}/conf.json", "--run-id", "no")

    assert (ended.code, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    runs = box.appliance("runs", "list", "receives", "-o", "json").json
    assert "no" not in [row["run_id"] for row in runs]


def test_a_conf_of_very_many_keys_reaches_a_task(
    box: RunningBox, tmp_path: Path
) -> None:
    conf = {f"k{index}": index for index in range(60_000)}
    (tmp_path / "conf.json").write_text(json.dumps(conf))

    ended = box.submit(
        "counts", "--conf", f"@{tmp_path}/conf.json", "--wait", "-o", "json"
    )

    assert ended.code == 0, ended.stderr
    assert pushed(box, "counts", ended.json["run_id"]) == {"counted": 60_000}


def test_all_params_that_are_missing_or_wrong_are_told_and_how_to_give_them(
    box: RunningBox,
) -> None:
    ended = box.submit("asks", "--conf", '{"age": 2}')

    assert ended.code == 2
    assert ended.stderr.splitlines() == [
        'passing.py: DAG "asks" cannot be run: 2 of its params are missing or wrong',
        "Invalid input for param who: No value passed (string)",
        "Invalid input for param age: 2 is less than the minimum of 3 "
        "(integer, minimum 3)",
        """Give a value: submit asks --conf '{"who": "...", "age": 3}'""",
    ]


def test_the_conf_that_is_proposed_for_params_is_one_that_runs(box: RunningBox) -> None:
    told = box.submit("asks").stderr
    conf = told.rsplit("--conf '", 1)[1].rstrip("'\n")

    assert box.submit("asks", "--conf", conf, "--wait").code == 0


def test_the_params_of_a_dag_are_shown(box: RunningBox) -> None:
    shown = box.appliance("dags", "show", "asks")
    facts = box.appliance("dags", "show", "asks", "-o", "json").json

    assert "who (string, required): Whose it is." in shown.stdout
    assert "age (integer, minimum 3, required)" in shown.stdout
    assert 'day (default "today")' in shown.stdout
    assert facts["params"]["age"] == {
        "default": None,
        "is_required": True,
        "allowed": "integer, minimum 3",
        "description": None,
        "schema": {"type": "integer", "minimum": 3},
    }


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "list", "\udcff"),
        ("runs", "wait", "passes", "\udcff"),
        ("dags", "show", "\udcff"),
        ("cancel", "passes", "\udcff"),
    ],
)
def test_arguments_that_are_no_text_are_usage_errors(
    box: RunningBox, words: tuple[str, ...]
) -> None:
    ended = box.appliance(*words)

    assert ended.code == 2
    assert "'\\udcff' is not UTF-8 text." in ended.stderr


def test_a_task_that_looks_for_what_airflow_2_had_is_told_what_to_write(
    box: RunningBox,
) -> None:
    ended = box.submit("airflow2", "--wait", "-o", "json")
    log = box.appliance("logs", "airflow2", ended.json["run_id"]).stdout

    assert ended.code == 1
    for task_id, said in {
        "by_key": "there is no execution_date. Use logical_date.",
        "by_argument": "there is no prev_ds. Use prev_data_interval_start_success | ds",
        "by_import": "from airflow.providers.standard.operators.python import Python",
        "by_template": "there is no tomorrow_ds. Use macros.ds_add(ds, 1).",
    }.items():
        told = [line for line in log.splitlines() if line.startswith(f"{task_id} try")]
        assert any(f"Airflow 3: {said}" in line for line in told), log


def test_a_file_is_understood_where_a_dag_id_belongs(
    box: RunningBox, tmp_path: Path
) -> None:
    ended = box.submit("dags/airflow2.py", "-o", "json")
    several = box.submit("passing.py")
    absent = box.submit("dags/nothing.py")

    assert (ended.code, ended.json["dag_id"]) == (0, "airflow2"), ended.stderr
    assert box.appliance("runs", "wait", "airflow2", ended.json["run_id"]).code == 1
    assert several.code == 2
    assert "passing.py has 4 DAGs; say which:" in several.stderr
    assert "\n  submit receives\n" in several.stderr
    assert absent.code == 2
    assert "dags/nothing.py: there is no such file in the DAG folder" in absent.stderr


TYPOS = {
    ("submit", "receivs"): 'no DAG "receivs" in {dags}; did you mean "receives"?',
    ("runs", "list", "receivs"): "There is no DAG 'receivs'. Did you mean 'receives'?",
    ("cancel", "receivs", "r1"): "There is no DAG 'receivs'. Did you mean 'receives'?",
    ("xcoms", "counts", "mina"): "counts has no run 'mina'. Did you mean 'mine'?",
    (
        "approve",
        "counts",
        "mina",
        "x",
    ): "counts has no run 'mina'. Did you mean 'mine'?",
    ("logs", "counts", "mine", "count"): "{logs}/dag_id=counts/run_id=mine: no such "
    "log. Did you mean 'counted'?",
    ("dags", "show", "receivs"): "There is no DAG 'receivs'. Did you mean 'receives'?",
}


def test_a_name_that_is_not_there_is_told_with_those_like_it(box: RunningBox) -> None:
    assert box.submit("counts", "--run-id", "mine", "--wait").code == 0
    dags = Path(__file__).parent / "dags"

    for words, said in TYPOS.items():
        ended = (
            box.submit(*words[1:]) if words[0] == "submit" else box.appliance(*words)
        )
        told = said.format(dags=dags, logs=box.data / "logs")
        assert (ended.code, ended.stdout, ended.stderr) == (2, "", f"{told}\n"), words


def test_a_refused_backfill_is_told_without_the_name_of_an_error(
    box: RunningBox,
) -> None:
    period = ("--from", "2026-01-01", "--to", "2026-01-02")
    for dag_id in ("receivs", "passes"):
        ended = box.appliance("backfill", dag_id, *period)

        assert ended.code == 2
        assert "DagRefused" not in ended.stderr
        assert dag_id in ended.stderr


def test_the_banner_proposes_a_dag_that_runs_by_its_id(box: RunningBox) -> None:
    (line,) = [row for row in box.output().splitlines() if row.startswith("try ")]

    assert line == "try       submit airflow2 --follow"


def test_a_command_says_in_a_sentence_that_nothing_is_up(tmp_path: Path) -> None:
    environ = {**clean_environ(), **ports(), "APPLIANCE_DATA": str(tmp_path)}
    command = [sys.executable, "-m", "appliance", "dags", "list"]

    native = run(command, environ, timeout_s=60)
    inside = run(command, {**environ, "APPLIANCE_IMAGE": "1"}, timeout_s=60)

    assert (native.code, native.stdout) == (3, "")
    assert native.stderr == (
        f"No appliance is up on the data folder {tmp_path}: start it with `make up`.\n"
    )
    assert inside.code == 3
    assert inside.stderr.startswith("Nothing runs in this container: give the command")
    assert len(inside.stderr.splitlines()) == 1


def test_where_nothing_is_up_health_warns_of_no_data_that_could_be_lost(
    tmp_path: Path,
) -> None:
    environ = {**clean_environ(), **ports(), "APPLIANCE_DATA": str(tmp_path)}
    command = [sys.executable, "-m", "appliance", "health"]

    ended = run(command, {**environ, "APPLIANCE_IMAGE": "1"}, timeout_s=60)

    assert (ended.code, ended.stderr) == (3, "")
