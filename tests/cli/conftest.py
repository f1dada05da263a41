"""A terminal to type commands into, with a fake server behind it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.context import CommandContext
from appliance.cli.main import appliance
from appliance.config.model import Config, Connection, Secrets
from tests.fakes.server import FakeServer

Type = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Give a configuration with one connection and one variable."""
    return Config(
        file=tmp_path / "appliance.yaml",
        data=tmp_path / "data",
        secrets=Secrets(
            connections={
                "db": Connection(
                    "db", conn_type="postgres", extra='{"token": "hunter2"}'
                )
            },
            variables={"api_key": "hunter3"},
        ),
        airflow_env={
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"token": "hunter4"}',
        },
    )


@pytest.fixture
def server() -> FakeServer:
    """Give a server that runs ``my_dag`` to success."""
    return FakeServer()


@pytest.fixture
def enter(config: Config, server: FakeServer) -> Type:
    """Type an ``appliance`` command."""

    def run(*words: str, on: FakeServer = server) -> Result:
        box = CommandContext(
            load=lambda: config, connect=on.connect, running=lambda: None
        )
        result = CliRunner().invoke(
            appliance, list(words), obj=box, prog_name="appliance"
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
