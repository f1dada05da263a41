"""One box for all attacks, with secrets in its configuration and a file beside its DAG folder that must never run."""

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.attacks.attacker import Attacker, attacking
from tests.box import RunningBox, running_box

DAGS = Path(__file__).parent / "dags"
CANARY = "canary-hunter2"
CONFIGURATION = f"""
connections:
  warehouse: {{conn_type: http, host: example.org, password: {CANARY}}}
variables:
  secret_word: {CANARY}
"""
EVIL = """
from pathlib import Path

Path(os.environ["MARKS"], "opened").touch()

from airflow.sdk import DAG, task

with DAG("evil", schedule=None):

    @task
    def pwn() -> None:
        Path(os.environ["MARKS"], "run").touch()

    pwn()
"""


@dataclass(frozen=True)
class Target:
    """An appliance, and where traces of a break-in would be."""

    box: RunningBox
    dags: Path
    evil: Path
    """A DAG file outside the DAG folder."""
    marks: Path
    """What must never be run leaves a file in here."""

    def assert_unharmed(self) -> None:
        assert [mark.name for mark in self.marks.iterdir()] == []
        inside = {"shop.py", "linked.py", "ignored", ".airflowignore", "__pycache__"}
        assert {path.name for path in self.dags.iterdir()} <= inside
        assert self.box.process.poll() is None


@pytest.fixture(scope="package")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacks")
    dags, marks, outside = folder / "dags", folder / "marks", folder / "outside"
    shutil.copytree(DAGS, dags)
    for made in (marks, outside, dags / "ignored"):
        made.mkdir()
    evil = outside / "evil.py"
    evil.write_text(EVIL)
    (dags / "ignored" / "evil.py").symlink_to(evil)
    (dags / ".airflowignore").write_text("ignored\n")
    (outside / "linked.py").write_text(
        'from airflow.sdk import DAG\n\ndag = DAG("linked", schedule=None)\n'
    )
    (dags / "linked.py").symlink_to(outside / "linked.py")
    (folder / "appliance.yaml").write_text(CONFIGURATION)
    environ = {
        "APPLIANCE_CONF": str(folder / "appliance.yaml"),
        "MARKS": str(marks),
        "NEVER_THERE": str(outside / "never"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with running_box(dags=dags, folder=folder, environ=environ) as box:
        yield Target(box, dags, evil, marks)


@pytest_asyncio.fixture(loop_scope="function")
async def attacker(target: Target) -> AsyncIterator[Attacker]:
    async with attacking(target.box) as found:
        yield found
    target.assert_unharmed()
