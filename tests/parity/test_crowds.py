"""Several runs that share limits and pools: every run and task instance starts when it does on Airflow, and ends alike.

The order within one instant is not compared. What once differed is in ``crowd_regressions.jsonl``.
"""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.client import OracleClient, oracle
from tests.parity.comparison import compare_crowd, compare_crowds

pytestmark = [pytest.mark.needs_airflow, pytest.mark.timeout(600)]

REGRESSIONS = Path(__file__).parent / "crowd_regressions.jsonl"
FRESH = 40


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleClient]:
    with oracle(tmp_path_factory.mktemp("airflow")) as client:
        yield client


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_random_crowds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fresh seeds every time: what differs is repeated by ``make parity N=300 SEED=...``."""
    seed = random.SystemRandom().randrange(10**9)
    with capsys.disabled():
        print(f"\n{FRESH} random crowds, SEED={seed}")

    found = compare_crowds(tmp_path, seed, FRESH, oracles=os.cpu_count() or 1)

    assert [different for different in found if different] == [], f"SEED={seed}"


@pytest.mark.parametrize("line", REGRESSIONS.read_text().splitlines())
def test_what_once_differed(airflow: OracleClient, line: str) -> None:
    assert compare_crowd(airflow, json.loads(line)) == ""
