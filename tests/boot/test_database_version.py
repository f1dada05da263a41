"""A database of another version is copied before it is used."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.boot.database_version import note, stamp
from appliance.boot.preflight import NotReady


def write(database: Path, text: str) -> None:
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("create table if not exists t (x)")
        opened.execute("insert into t values (?)", [text])


def read(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        return [row[0] for row in opened.execute("select x from t")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def test_a_new_data_folder_is_only_stamped(tmp_path: Path, run: Path) -> None:
    stamp(tmp_path, "1.9.1", run=run)
    write(tmp_path / "temporal.db", "a")
    stamp(tmp_path, "1.9.1", run=run)
    assert note(run) is None
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize("before", ["1.8.0", None])
def test_another_version_is_copied_once(
    tmp_path: Path, run: Path, before: str | None
) -> None:
    write(tmp_path / "temporal.db", "a")
    if before:
        (tmp_path / "temporal.version").write_text(f"{before}\n")
    stamp(tmp_path, "1.9.1", run=run)
    was = before or "unknown"
    copy = tmp_path / "backups" / f"temporal-{was}-before-1.9.1.db"
    assert str(copy) in (note(run) or "")
    write(tmp_path / "temporal.db", "b")
    assert read(copy) == ["a"]
    stamp(tmp_path, "1.9.1", run=run)
    assert note(run) is None


def test_what_is_in_the_write_ahead_log_is_copied(tmp_path: Path, run: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "temporal.db")) as opened:
        opened.execute("pragma journal_mode=wal")
        write(tmp_path / "temporal.db", "a")
        stamp(tmp_path, "2", run=run)
    assert read(tmp_path / "backups" / "temporal-unknown-before-2.db") == ["a"]


def test_without_a_copy_nothing_starts(tmp_path: Path, run: Path) -> None:
    write(tmp_path / "temporal.db", "a")
    (tmp_path / "backups").write_text("in the way")
    with pytest.raises(NotReady, match="a copy cannot be made"):
        stamp(tmp_path, "2", run=run)
    assert not (tmp_path / "temporal.version").exists()
