"""The box says when its disk runs full."""

from dataclasses import replace
from pathlib import Path

from appliance.config.free_disk import shortage
from appliance.config.load import load
from appliance.config.model import Config, DiskSettings

ENORMOUS = 10**18


def config(folder: Path, floor_bytes: int) -> Config:
    found = load({"APPLIANCE_DATA": str(folder)}, cwd=folder)
    return replace(found, disk=DiskSettings(floor_bytes=floor_bytes))


def test_below_the_floor_it_says_where_how_much_and_what_to_do(tmp_path: Path) -> None:
    said = shortage(config(tmp_path, ENORMOUS))

    assert said is not None
    assert said.startswith(f"{tmp_path}: only ")
    assert "Below 1e+06 TB (disk.floor) no new run is accepted" in said
    assert "Make room: " in said


def test_with_room_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert shortage(config(tmp_path, 1)) is None
