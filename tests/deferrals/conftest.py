"""One box for all tests of waiting."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import RunningBox, running_box

DAGS = Path(__file__).parent / "dags"
CONFIGURATION = """
connections:
  warehouse: {conn_type: http, host: example.org}
variables:
  greeting: hello
"""


@pytest.fixture(scope="package")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("waits")
    (folder / "appliance.yaml").write_text(CONFIGURATION)
    environ = {"APPLIANCE_CONF": str(folder / "appliance.yaml")}
    with running_box(dags=DAGS, folder=folder, environ=environ) as started:
        yield started
