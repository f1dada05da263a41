"""What the data folder takes is told by part."""

import re
from pathlib import Path

from appliance.boot.disk_usage import Disk, measure


def test_parts_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "temporal.db").write_bytes(b"x" * 1_000_000)
    (tmp_path / "temporal.db-wal").write_bytes(b"x" * 1_000_000)
    log = tmp_path / "logs" / "dag_id=d" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * 40_960)
    (tmp_path / "logs" / "loop").symlink_to(tmp_path)
    (tmp_path / "keys").write_bytes(b"x" * 50_000)

    disk = measure(tmp_path)
    assert disk.is_complete
    assert round(disk.parts["database"], -5) == 2_000_000
    assert 40_960 <= disk.parts["logs"] < 80_000
    assert disk.parts["xcoms"] == 0
    assert re.match(r"database 2(.01)? MB, logs 4\d(.\d)? kB; ", disk.line)
    assert "xcoms" not in disk.line
    assert disk.line.endswith("free")


def test_counting_ends_in_time(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a").write_text("x")
    disk = measure(tmp_path, most_s=-1)
    assert not disk.is_complete
    assert disk.line.startswith("more than ")


def test_little_room_is_scarce() -> None:
    assert Disk({}, free=900_000_000, total=10**12, is_complete=True).is_scarce
    assert not Disk({}, free=2_000_000_000, total=10**12, is_complete=True).is_scarce
    assert not Disk({}, free=90_000_000, total=10**9, is_complete=True).is_scarce
