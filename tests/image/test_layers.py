"""What people keep beside the Dockerfile does not get into the image."""

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.image.container import docker

pytestmark = [pytest.mark.needs_image, pytest.mark.timeout(900)]

CANARY = "hunter2-canary"
_CHUNK_BYTES = 1 << 24
PLACES = ("conf/appliance.yaml", "conf/password", ".env", "dags/.env", "compose.yaml")
"""Where a password may be in a checkout that somebody works in."""


@pytest.fixture
def image(tmp_path: Path) -> Iterator[str]:
    """Build the image where passwords lie about; all but the last layers are there already."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    for name in PLACES:
        with (tmp_path / name).open("a") as file:
            file.write(f"\n# PASSWORD={CANARY}\n")
    tag = f"appliance-test-{uuid.uuid4().hex[:8]}"
    built = docker("build", "--tag", tag, str(tmp_path), timeout_s=800)
    assert built.code == 0, built.stderr
    yield tag
    docker("rmi", "--force", tag)


def test_no_layer_holds_a_password_of_the_folder_it_was_built_in(image: str) -> None:
    told = docker("history", "--no-trunc", image).stdout
    assert CANARY not in told + docker("inspect", image).stdout

    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        seen_bytes, tail = 0, b""
        while chunk := saving.stdout.read(_CHUNK_BYTES):
            assert CANARY.encode() not in tail + chunk
            seen_bytes, tail = seen_bytes + len(chunk), chunk[-len(CANARY) :]

    assert saving.returncode == 0
    assert seen_bytes > 1 << 28, "layers are not compressed in there"
