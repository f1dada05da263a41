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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that may take longest, so that no core is idle while the last of them runs alone."""
    longest: dict[Path, float] = {}
    for item in items:
        longest[item.path] = max(longest.get(item.path, 0.0), _limit_s(item))
    items.sort(key=lambda item: -longest[item.path])


def _limit_s(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark is not None else 0.0
