"""What runs left in the data folder goes when the server has them no longer."""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client

from appliance.config.model import Config, TemporalSettings
from appliance.taskrun.log_paths import log_file
from appliance.taskrun.run_files import RunFiles
from appliance.worker.retention import clean
from tests.temporal.servers import serving

pytestmark = [
    pytest.mark.needs_server,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

NOW = 1_800_000_000.0
DAY_S = 86400.0
LONG = "an id longer than a folder's name may be " * 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    async with serving() as server:
        yield server


@dataclass
class Box:
    """A data folder, and what was asked to be purged."""

    config: Config
    purged: list[tuple[str, str]] = field(default_factory=list)

    def log(self, dag_id: str, run_id: str, *, days: float, text: str = "{}") -> Path:
        file = log_file(dag_id, run_id, "t", map_index=-1, try_number=1)
        return self.written(self.config.data / file, days, text)

    def xcom(self, dag_id: str, run_id: str, *, days: float) -> Path:
        path = self.config.data / "xcom" / dag_id / run_id / "t" / "x.json"
        return self.written(path, days, "[]")

    def written(self, path: Path, days: float, text: str) -> Path:
        path.parent.mkdir(parents=True)
        path.write_text(text)
        for one in (path, *path.parents[:3]):
            os.utime(one, (NOW - days * DAY_S,) * 2)
        return path

    async def purge(self, gone: Sequence[RunFiles]) -> None:
        self.purged += [(trace.dag_id, trace.run_id) for trace in gone]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    temporal = TemporalSettings(retention_s=30 * DAY_S)
    config = Config(file=tmp_path / "none", data=tmp_path, temporal=temporal)
    return Box(config)


async def start(client: Client, workflow: str) -> None:
    await client.start_workflow("sleeps", id=workflow, task_queue="nobody's")


async def test_what_is_gone_and_old_is_deleted(client: Client, box: Box) -> None:
    log = box.log("d", "a/b", days=31)
    xcom = box.xcom("e", "x", days=31)
    event = f'{{"dag_id": "d", "run_id": "{LONG}"}}\n'
    long = box.log("d", LONG, days=40, text=f"no event\n{event}")

    assert await clean(client, box.config, box.purge, now=NOW) == 3
    assert not any(path.exists() for path in (log, xcom, long))
    assert sorted(box.purged) == [("d", "a/b"), ("d", LONG), ("e", "x")]
    assert not (box.config.data / "logs" / "dag_id=d").exists()
    assert await clean(client, box.config, box.purge, now=NOW) == 0


async def test_what_is_young_stays(client: Client, box: Box) -> None:
    old = box.log("d", "r", days=31)
    young = old.with_name("attempt=2.log")
    young.write_text("{}")
    os.utime(young, (NOW - 29 * DAY_S,) * 2)
    for folder in old.parents[:3]:
        os.utime(folder, (NOW - 31 * DAY_S,) * 2)

    assert await clean(client, box.config, box.purge, now=NOW) == 0
    assert old.exists()


async def test_what_the_server_still_has_stays(client: Client, box: Box) -> None:
    await start(client, "dag-d-sleeper")
    await start(client, f"dag-d-{LONG}")
    kept = [
        box.log("d", "sleeper", days=400),
        box.log("d", LONG, days=400, text=f'{{"dag_id": "d", "run_id": "{LONG}"}}'),
    ]
    gone = box.log("d", "other", days=400)

    assert await clean(client, box.config, box.purge, now=NOW) == 1
    assert all(path.exists() for path in kept)
    assert not gone.exists()
