"""A real zygote, the file ``dags/tries.py`` read in it, and a host for tries."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest_asyncio

from appliance.config.model import Secrets
from appliance.dagrun.attempt import ActivityTaskInput, RunFacts, TaskExecutionResult
from appliance.forkserver.control import Zygote
from appliance.taskrun.attempt import TryHost
from appliance.taskrun.prefork import PreforkedChildren
from tests.fakes.kv_stores import FakeVaults
from tests.fakes.runs import FakeRun

NOON = "2026-01-02T12:00:00+00:00"
DAGS = Path(__file__).parent / "dags"


@dataclass
class Box:
    """Runs tries of ``dags/tries.py`` and keeps what they print."""

    data: Path
    base: Zygote
    zygote: Zygote
    preforked: PreforkedChildren
    secrets: Secrets = field(default_factory=Secrets)
    printed: list[str] = field(default_factory=list)

    def host(self, **changes: Any) -> TryHost:
        given: dict[str, Any] = {
            "data": self.data,
            "secrets": self.secrets,
            "airflow_env": {},
            "grace_s": 1.0,
            "preforked": self.preforked,
            "kv_stores": FakeVaults(),
            "echo": self.printed.append,
        }
        return TryHost(**{**given, **changes})

    async def run(
        self,
        task_id: str,
        *,
        run: FakeRun | None = None,
        host: TryHost | None = None,
        zygote: Zygote | None = None,
        **changes: Any,
    ) -> TaskExecutionResult:
        """Run one try; ``conf`` and ``is_sealed`` are the run's, the other changes the try's."""
        facts: dict[str, Any] = {
            name: changes.pop(name) for name in ("conf", "is_sealed") if name in changes
        }
        return await (host or self.host()).run_try(
            a_try(task_id, facts=facts, **changes),
            zygote=zygote or self.zygote,
            run=run or FakeRun(),
        )

    def log(self, result: TaskExecutionResult) -> str:
        """Return the try's log file."""
        assert result.log is not None
        return (self.data / result.log).read_text()

    async def read(self, file: str = "tries.py", **args: Any) -> Zygote:
        """Fork another DAG zygote."""
        path = str(DAGS / file)
        _, zygote = await self.base.fork_zygote(
            "tests.fakes.dag_zygote:read", {"path": path, **args}
        )
        await zygote.ready()
        return zygote


def a_try(
    task_id: str, *, facts: Mapping[str, Any], **changes: Any
) -> ActivityTaskInput:
    """Return a first try of a run of ``tries``."""
    run: dict[str, Any] = {
        "dag_id": "tries",
        "run_id": "manual__1",
        "run_type": "manual",
        "logical_date": NOON,
        "data_interval_start": NOON,
        "data_interval_end": NOON,
        "run_after": NOON,
        "start_date": NOON,
        "file": "tries.py",
        **facts,
    }
    given: dict[str, Any] = {
        "run": RunFacts(**run),
        "task_id": task_id,
        "map_index": -1,
        "try_number": 1,
        "max_tries": 0,
        "ti_id": "01234567-89ab-cdef-0123-456789abcdef",
    }
    return ActivityTaskInput(**{**given, **changes})


def zygote_env(home: Path) -> dict[str, str]:
    """Return what a zygote of the tests is started with."""
    root = Path(__file__).parents[2]
    backend = "appliance.forkserver.xcom_backend.XComBackend"
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(root), str(DAGS)]),
        "PYTHONWARNINGS": "ignore",
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__XCOM_BACKEND": backend,
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{home}/xcom",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "16384",
        "AIRFLOW_CONN_ENV_DB": "http://me:environment@host",
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def box(tmp_path_factory: Any) -> AsyncIterator[Box]:
    data = tmp_path_factory.mktemp("data")
    base = await Zygote.start(env=zygote_env(data), preload=["appliance.taskrun.child"])
    box = Box(data=data, base=base, zygote=base, preforked=PreforkedChildren())
    box.zygote = await box.read()
    yield box
    await box.preforked.close()
    base.close()
