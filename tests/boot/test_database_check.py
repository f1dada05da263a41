"""A database that cannot be used is named with what is wrong, and a backup can be put back as the documentation says."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from appliance.boot.database_check import check
from appliance.boot.preflight import NotReady
from tests.box import running_box
from tests.conftest import ROOT

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(180)]

RUN = "before_the_crash"


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of an appliance that was stopped and has a run."""
    folder = tmp_path_factory.mktemp("used")
    with running_box(dags=ROOT / "dags", folder=folder) as box:
        assert box.submit("my_dag", "--run-id", RUN, "--wait").code == 0
    data = folder / "data"
    with closing(sqlite3.connect(data / "temporal.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return data


@pytest.fixture
def data(used: Path, tmp_path: Path) -> Path:
    return shutil.copytree(used, tmp_path / "data")


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def overwrite_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"x" * 20_000)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_anothers(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE dag_run (id)")


def drop_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE history_node")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncate, "is damaged (database disk image is malformed)."),
        (overwrite_the_middle, "is damaged ("),
        (lambda path: path.write_bytes(b"x" * 9999), "is no SQLite database."),
        (lambda path: path.write_bytes(b""), "is empty, but runs have been here."),
        (
            replace_by_a_folder,
            "is a folder, but the server's database has to be there.",
        ),
        (replace_by_anothers, "is a database of another program."),
        (drop_a_table, "is incomplete, it has no table history_node."),
    ],
)
def test_a_database_that_cannot_be_used_is_named_with_what_to_do(
    data: Path, spoil: Callable[[Path], object], said: str
) -> None:
    check(data)
    database = data / "temporal.db"
    spoil(database)
    (data / "backups").mkdir(exist_ok=True)
    (data / "backups" / "temporal-1-before-2.db").touch()
    with pytest.raises(NotReady) as caught:
        check(data)
    what, cure = str(caught.value).splitlines()
    assert what.startswith(f"{database}: {said}")
    assert cure.startswith(f"Put a backup back: remove temporal.db* in {data}, and ")
    assert "(copies made at upgrades: temporal-1-before-2.db in backups/)" in cure
    assert database.exists()


@pytest.mark.parametrize("tables", [(), ("namespaces",), ("namespaces", "executions")])
def test_what_a_first_start_left_that_was_cut_short_is_made_anew(
    tmp_path: Path, tables: tuple[str, ...]
) -> None:
    database = tmp_path / "temporal.db"
    database.touch()
    with closing(sqlite3.connect(database)) as connection:
        for name in tables:
            connection.execute(f"CREATE TABLE {name} (id)")
    check(tmp_path)
    assert not database.exists()


def test_a_backup_is_put_back(used: Path, tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    shutil.copytree(used, backup)
    shutil.copytree(used, data)
    truncate(data / "temporal.db")
    with (
        pytest.raises(AssertionError, match="ended by itself") as caught,
        running_box(dags=ROOT / "dags", folder=tmp_path),
    ):
        pass
    assert "temporal.db: is damaged" in str(caught.value)

    for path in data.glob("temporal.db*"):
        path.unlink()
    shutil.copy(backup / "temporal.db", data / "temporal.db")
    with running_box(dags=ROOT / "dags", folder=tmp_path) as box:
        listed = box.appliance("runs", "list", "my_dag")
        assert RUN in listed.stdout
