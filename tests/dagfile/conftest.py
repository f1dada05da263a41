"""A DAG folder to write files into, read by real children of a real zygote."""

import os
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from appliance.config.model import Connection, DagSettings, Secrets
from appliance.dagfile.folder import DagFolder
from appliance.dagfile.parse_host import PRELOAD
from appliance.forkserver.control import Zygote
from appliance.forkserver.frames import Reply
from appliance.taskrun.secrets import ParseAnswers
from tests.fakes.kv_stores import FakeVault

FROM_ENV = "of the environment"
WEIGHTS_PLUGIN = """
import time
from airflow.plugins_manager import AirflowPlugin
from airflow.task.priority_strategy import PriorityWeightStrategy
from airflow.timetables.base import DataInterval, Timetable

class ByName(PriorityWeightStrategy):
    def get_weight(self, ti):
        return len(ti.task_id) + ti.task.priority_weight

class Offset(PriorityWeightStrategy):
    def __init__(self, offset=1):
        self.offset = offset

    def get_weight(self, ti):
        return self.offset

class Stuck(Timetable):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        while True:
            try:
                time.sleep(60)
            except Exception:
                pass

    def infer_manual_data_interval(self, *, run_after):
        return DataInterval.exact(run_after)

class Weights(AirflowPlugin):
    name = "weights"
    priority_weight_strategies = [ByName, Offset]
    timetables = [Stuck]
"""


class Box:
    """A DAG folder with a project around it."""

    def __init__(self, project: Path, zygote: Zygote, settings: DagSettings) -> None:
        self.project = project
        self.root = settings.folder
        self.variables: dict[str, str] = {}
        self.connections: dict[str, Connection] = {}
        self.asked: list[str] = []
        self.folder = DagFolder(
            root=settings.folder,
            zygote=zygote,
            settings=settings,
            answers=self._answers,
            clock=time.monotonic,
        )

    def write(self, file: str, text: str) -> Path:
        """Write a file, relative to the DAG folder."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    def _answers(self) -> ParseAnswers:
        secrets = Secrets(connections=self.connections, variables=self.variables)
        return Overheard(secrets, self.asked)


class Overheard(ParseAnswers):
    """Notes what it is asked."""

    def __init__(self, secrets: Secrets, asked: list[str]) -> None:
        super().__init__(secrets, FakeVault(), {})
        self.asked = asked

    async def answer(self, kind: str, body: dict[str, Any]) -> Reply:
        self.asked.append(kind)
        return await super().answer(kind, body)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def zygote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    """Give a base zygote for the whole session; starting one takes seconds."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "plugins").mkdir()
    (home / "plugins" / "weights.py").write_text(WEIGHTS_PLUGIN)
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_VAR_FROM_ENV": "seven",
        "AIRFLOW_CONN_FROM_ENV": f"http://me:{quote(FROM_ENV)}@host",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    started = await Zygote.start(env=env, preload=PRELOAD)
    yield started
    started.close()


@pytest.fixture
def settings(tmp_path: Path) -> DagSettings:
    """Give short limits and empty folders."""
    root, plugins = tmp_path / "dags", tmp_path / "plugins"
    root.mkdir()
    plugins.mkdir()
    return DagSettings(
        folder=root, plugins_folder=plugins, max_age_s=300.0, import_timeout_s=20.0
    )


@pytest.fixture
def box(tmp_path: Path, zygote: Zygote, settings: DagSettings) -> Iterator[Box]:
    """Give an empty DAG folder."""
    made = Box(tmp_path, zygote, settings)
    yield made
    made.folder.close()
