"""A try that cannot begin fails with a reason, in its log too."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.config.airflow_environment import airflow_number
from appliance.config.model import Config, Secrets
from appliance.dagfile.folder import DagFolder
from appliance.dagfile.models import DagFacts, OpenFile
from appliance.dagrun.states import TaskState
from appliance.errors import ConfigError
from appliance.forkserver.control import Zygote
from appliance.runs.worker_client import WorkerRuns
from appliance.worker.task_host import TaskHost
from tests.fakes.kv_stores import FakeVaults
from tests.fakes.runs import FakeRun, a_try


class FakeFolder:
    async def open(self, file: str) -> OpenFile:
        dag = DagFacts("shop", plan={"tasks": {"sum": {}}})
        return OpenFile(file, file, "0", cast(Zygote, None), dags={"shop": dag})


class WithoutZygote(TaskHost):
    async def folder(self) -> DagFolder:
        return cast(DagFolder, FakeFolder())


class Sealed(FakeRun):
    async def secrets(self) -> Secrets | None:
        raise ConfigError("sealed with the key 0123, which is not in keys")

    def of(self, _workflow: str) -> Any:
        return self


async def test_secrets_that_cannot_be_opened_are_told_in_the_log(
    tmp_path: Path,
) -> None:
    workshop = WithoutZygote(
        Config(file=tmp_path / "a.yaml", data=tmp_path), FakeVaults()
    )
    task = a_try()
    task = replace(task, run=replace(task.run, is_sealed=True))

    result = await workshop.runner(cast(WorkerRuns, Sealed()))(task)

    assert result.state == TaskState.FAILED
    assert "the key 0123" in (result.error or "")
    assert "the key 0123" in (tmp_path / str(result.log)).read_text()


@pytest.mark.needs_airflow
def test_numbers_of_airflows_own_settings_count(tmp_path: Path) -> None:
    option = "CORE__MAX_MAP_LENGTH"
    env = {"AIRFLOW__CORE__MAX_MAP_LENGTH": "9"}
    config = Config(file=tmp_path, data=tmp_path, airflow_env=env)

    assert airflow_number(config, option, 1024) == 9
    assert airflow_number(replace(config, airflow_env={}), option, 1024) == 1024
    env["AIRFLOW__CORE__MAX_MAP_LENGTH"] = "many"
    with pytest.raises(ConfigError, match="AIRFLOW__CORE__MAX_MAP_LENGTH: 'many'"):
        airflow_number(config, option, 1024)
