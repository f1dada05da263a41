"""What users of the image do on the first day."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import Ended
from tests.conftest import ROOT
from tests.image.container import (
    IMAGE,
    Container,
    docker,
    rows,
    run,
    started,
    until,
    volume,
)

pytestmark = [pytest.mark.needs_image, pytest.mark.timeout(180)]

DAGS = Path(__file__).parent / "dags"
ENVIRONMENTS = ROOT / "tests" / "boot" / "dags"
PROJECT = Path(__file__).parent / "project"
TMP = "/tmp"  # noqa: S108  # a mount of the container
SUCCESS = "success: 2 succeeded, 0 failed of 2 tasks"


@pytest.fixture(scope="module")
def box() -> Iterator[Container]:
    with volume() as name, started("-v", f"{name}:/data") as container:
        yield container.wait_until_well()


def test_it_says_that_it_is_ready_and_what_to_try(box: Container) -> None:
    # The last line comes when the whole DAG folder has been read, which may be after health.
    until(lambda: "try       submit" in box.logs(), box.logs)
    said = box.logs()
    assert "is ready" in said
    assert "dags      /dags: 5 DAGs, 0 import errors" in said
    assert "config    /conf/appliance.yaml: 0 connections, 2 variables" in said
    assert "try       submit my_dag --follow" in said
    assert "WARNING" not in said


@pytest.mark.parametrize("user", [None, "0", "12345", "12345:12345"])
def test_any_user_may_submit_and_look(box: Container, user: str | None) -> None:
    done = box.exec("submit", "my_dag", "--wait", "-o", "json", user=user)
    assert done.code == 0, done.stderr
    workflow = done.json["workflow_id"]
    listed = rows(
        box.exec("appliance", "runs", "list", "my_dag", "-o", "json", user=user)
    )
    assert workflow in [row["workflow_id"] for row in listed]
    words = ("temporal", "workflow")
    assert workflow in box.exec(*words, "list", user=user).stdout
    assert workflow in box.exec(*words, "describe", "-w", workflow, user=user).stdout
    assert "Result" in box.exec(*words, "show", "-w", workflow, user=user).stdout
    assert box.exec("appliance", "health", user=user).code == 0
    assert box.exec("appliance-checkup", user=user).stdout == "ok\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("my_dag", "--wait"), 0, SUCCESS),
        (("my_dag",), 0, SUCCESS),
        (("fails", "--wait"), 1, "failed: 0 succeeded, 1 failed of 1 tasks"),
        (("nothing", "--wait"), 2, 'no DAG "nothing" in /dags'),
        (("my_dag", "--nonsense"), 2, "No such option"),
    ],
)
def test_one_shot(words: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for file in (*DAGS.glob("*.py"), ROOT / "dags" / "my_dag.py"):
        (tmp_path / file.name).write_text(file.read_text())
    done = run("-v", f"{tmp_path}:/dags:ro", words=("submit", *words))
    assert (done.code, said in done.stdout + done.stderr) == (code, True), done


def test_no_file_gives_anybody_the_rights_of_another_user() -> None:
    words = ("find", "/", "-xdev", "-type", "f", "-perm", "/6000")
    assert run("--user", "0", words=words) == Ended(0, "", "")


def test_other_words_are_commands() -> None:
    assert "apache-airflow 3" in run(words=("version",)).stdout
    assert run(words=("appliance", "version")).code == 0
    assert run(words=("temporal", "--version")).stdout.startswith("temporal version")
    assert run(words=("sh", "-c", "exit 7")).code == 7


@pytest.mark.parametrize(
    "options",
    [
        ("--user", "0"),
        ("--user", "12345", "--init"),
        (
            *("--user", "12345:12345", "--read-only", "--tmpfs", TMP),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--network", "none", "--memory", "1g", "--init"),
        ),
    ],
    ids=["root", "any user", "all restrictions"],
)
def test_it_runs_restricted(options: tuple[str, ...]) -> None:
    done = run(*options, words=("submit", "my_dag", "--wait"))
    assert done.code == 0, done
    assert SUCCESS in done.stdout
    assert done.stderr == ""


def test_a_whole_project(tmp_path: Path) -> None:
    mount = f"{PROJECT}:/project:ro"
    with started("-v", mount) as container:
        container.wait_until_well()
        shown = container.exec("appliance", "config", "show")
        assert "narrow:" in shown.stdout
        done = container.exec(
            "submit", "of_a_project", "--wait", "--run-id", "one", "-o", "json"
        )
        assert done.code == 0, done.stderr + container.logs()
        words = ("appliance", "xcoms", "of_a_project", "one", "-o", "json")
        (xcom,) = rows(container.exec(*words))
    assert xcom["value"] == {
        "greeting": "Hello, project!",
        "colour": "green",
        "shop": ["db.example.com", 5433, "it's a secret", "require"],
        "include": True,
    }


def test_a_configuration_folder_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir(mode=0o755)
    mount = ("-v", f"{tmp_path}/conf:/conf:ro")
    done = run(*mount, words=("appliance", "config", "check"))
    assert (done.code, "not there; defaults" in done.stdout) == (0, True)
    named = run(*mount, "-e", "APPLIANCE_CONF=/conf/my.yaml")
    assert named.code == 2
    assert named.stderr == ("APPLIANCE_CONF: the file '/conf/my.yaml' does not exist\n")


def test_the_compose_file_starts_it(tmp_path: Path) -> None:
    override = tmp_path / "override.yaml"
    name = f"appliance-compose-{os.getpid()}"
    override.write_text(
        f"services: {{appliance: {{image: {IMAGE}, container_name: {name}, "
        "ports: !reset []}}"
    )
    files = ("-f", str(ROOT / "compose.yaml"), "-f", str(override))
    compose = ("compose", "--project-name", name, *files)
    up = docker(*compose, "up", "--detach", "--wait", "--no-build")
    try:
        assert up.code == 0, up.stderr
        done = docker("exec", name, "submit", "my_dag", "--wait")
        assert done.code == 0, done.stderr
        assert docker("exec", name, "touch", "/dags/x").code != 0
    finally:
        docker(*compose, "down", "--volumes")


def test_virtual_environments_are_made_without_a_network_and_restricted() -> None:
    restricted = ("--network", "none", "--read-only", "--tmpfs", "/tmp")  # noqa: S108
    options = (*restricted, "-v", f"{ENVIRONMENTS}:/dags:ro")
    colour = ("-e", "AIRFLOW_VAR_COLOUR=red")
    words = ("submit", "virtual_environments", "--wait")
    done = run(*options, *colour, words=words)
    assert done.code == 0, done.stdout + done.stderr


def test_the_image_has_no_build_tools_and_is_not_root() -> None:
    found = run(words=("sh", "-c", "id -u; command -v pip gcc make git curl || true"))
    assert found.stdout == "10001\n"
    from_engine = json.loads(docker("image", "inspect", IMAGE).stdout)[0]
    assert from_engine["Size"] <= 600e6
