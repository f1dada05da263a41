"""The health check of the image asks the box itself, and nothing it cannot see is well."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.sockets import health_client
from tests.box import Ended, RunningBox, run


def checked(data: Path) -> Ended:
    command = [sys.executable, "-I", "-S", health_client.__file__]
    return run(command, {"APPLIANCE_DATA": str(data)}, 20)


@pytest.mark.needs_server
@pytest.mark.timeout(120)
def test_a_box_that_is_up_is_well(box: RunningBox) -> None:
    assert checked(box.data) == Ended(0, "ok\n", "")


def test_a_box_that_was_never_up_is_not(tmp_path: Path) -> None:
    found = checked(tmp_path)
    assert (found.code, found.stdout[:11]) == (1, "no answer: ")


def test_a_server_alone_that_does_not_answer_is_not_well(tmp_path: Path) -> None:
    name = subprocess.check_output(["hostname"], text=True).strip()
    folder = tmp_path / "run" / name
    folder.mkdir(parents=True)
    (folder / health_client.SERVER).write_text(
        "http://127.0.0.1:1/api/v1/namespaces/default"
    )
    assert "Connection refused" in checked(tmp_path).stdout
