"""What is saved while the appliance runs: a good file is taken, a bad one changes nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.config.machine_limits import Machine
from appliance.config.model import Config
from appliance.config.watch import Change, Watch

MACHINE = Machine(cpus=2, memory_bytes=4 << 30)
Save = Callable[..., None]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(text: str, name: str = "conf/appliance.yaml") -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write


@pytest.fixture
def watch(tmp_path: Path, save: Save) -> Watch:
    def read() -> Config:
        return load({}, cwd=tmp_path, machine=MACHINE)

    save("variables: {a: '1'}")
    return Watch(read(), read)


def looks(watch: Watch, number: int = 2) -> list[Change]:
    found = [watch.look() for _ in range(number)]
    return [change for change in found if change is not None]


def test_a_good_file_is_taken_once_it_has_settled(watch: Watch, save: Save) -> None:
    assert looks(watch) == []
    save("variables: {a: '2', b: '3'}")
    assert watch.look() is None
    (change,) = looks(watch, 5)
    assert change.config.secrets.variables == {"a": "2", "b": "3"}
    assert (change.text, change.is_bad) == (
        "the configuration was saved; in force now: variables",
        False,
    )


def test_what_needs_a_restart_is_named_and_not_taken(watch: Watch, save: Save) -> None:
    save("worker: {parallelism: 9, on_lost: fail}\nretention: 2d\nvariables: {a: '1'}")
    (change,) = looks(watch)
    assert change.text == (
        "the configuration was saved; in force now: worker.on_lost; "
        "needs a restart: retention, worker.parallelism"
    )
    assert change.config.worker.on_lost == "fail"
    assert (change.config.worker.parallelism, change.config.role) == (4, "all")
    assert change.config.temporal.retention_s == 30 * 86400


def test_a_bad_file_changes_nothing_and_is_told_once(watch: Watch, save: Save) -> None:
    save("variables: {a: '2'}\nrol: all")
    (change,) = looks(watch, 9)
    assert change.is_bad
    assert change.config.secrets.variables == {"a": "1"}
    assert change.text == (
        "the configuration was saved with mistakes; nothing changes until they are "
        "mended:\nconf/appliance.yaml:2:1: unknown key 'rol', did you mean 'role'?"
    )
    save("variables: {a: '2'}\nrol: bll")
    assert looks(watch, 9) == []
    save("variables: {a: '1'}")
    (change,) = looks(watch, 9)
    assert change.text == "the configuration is without mistakes again"


def test_a_file_that_is_gone_changes_nothing(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "conf" / "appliance.yaml").unlink()
    (change,) = looks(watch, 5)
    assert change.is_bad
    assert change.text.endswith("appliance.yaml: the file is gone")
    assert change.config.secrets.variables == {"a": "1"}


def test_a_secret_file_counts_and_may_come_later(watch: Watch, save: Save) -> None:
    save("variables: {a: !file pw}")
    (change,) = looks(watch, 5)
    assert change.is_bad
    save("one", "conf/pw")
    (change,) = looks(watch, 9)
    assert change.config.secrets.variables == {"a": "one"}
    save("another", "conf/pw")
    (change,) = looks(watch)
    assert change.config.secrets.variables == {"a": "another"}


def test_a_file_that_was_not_there_is_seen(tmp_path: Path, save: Save) -> None:
    def read() -> Config:
        return load({}, cwd=tmp_path, machine=MACHINE)

    watch = Watch(read(), read)
    save("variables: {a: '1'}")
    (change,) = looks(watch)
    assert change.config.secrets.variables == {"a": "1"}
