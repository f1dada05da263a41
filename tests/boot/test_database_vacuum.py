"""The database shrinks at start when most of it is empty."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.boot.database_vacuum import vacuum


def database(folder: Path, *, rows: int, deleted: int) -> Path:
    file = folder / "it's temporal.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE history (id INTEGER, events BLOB)")
        for number in range(rows):
            values = (number, bytes(1_000_000))
            connection.execute("INSERT INTO history VALUES (?, ?)", values)
        connection.execute("DELETE FROM history WHERE id < ?", (deleted,))
        connection.commit()
    return file


def test_what_runs_have_left_is_given_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = database(tmp_path, rows=120, deleted=110)

    vacuum(file)

    assert file.stat().st_size < 12_000_000
    assert "giving 110 MB back to the disk ..." in capsys.readouterr().err
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM history").fetchone() == (10,)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_little_is_left_for_rows_to_come(tmp_path: Path) -> None:
    file = database(tmp_path, rows=20, deleted=19)
    before = file.stat().st_size

    vacuum(file)

    assert file.stat().st_size == before


def test_what_is_no_database_is_left_to_the_server(tmp_path: Path) -> None:
    file = tmp_path / "temporal.db"
    vacuum(file)
    assert not file.exists()
    file.write_text("not a database, whatever its name says")

    vacuum(file)

    assert file.read_text() == "not a database, whatever its name says"
