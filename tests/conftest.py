"""What tests of several folders share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import RunningBox, running_box

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """Run an appliance on the examples in ``dags/``. Tests that use it are ``needs_server``."""
    folder = tmp_path_factory.mktemp("box")
    with running_box(dags=ROOT / "dags", folder=folder) as started:
        yield started
