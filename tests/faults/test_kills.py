"""Any part may be killed at any moment, again and again: runs end as they have to, and every try is accounted for."""

import random
from pathlib import Path

import pytest

from tests.faults.killing import WEIGHTS, Campaign
from tests.faults.mixture import Mixture

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(400)]


def test_every_try_is_accounted_for_whatever_is_killed(tmp_path: Path) -> None:
    """``make test-kills`` does the same for longer."""
    campaign = Campaign(tmp_path, seed=random.SystemRandom().randrange(10**6))

    found = campaign.run(lives=2, kills=7)

    assert not found, f"seed {campaign.seed}:\n" + "\n".join(found)
    assert {kill.what for kill in campaign.kills} == {*WEIGHTS, "box"}


def test_no_run_is_lost_or_done_twice_with_pools_deferrals_and_a_schedule(
    tmp_path: Path,
) -> None:
    """``make test-mixture`` does the same for longer."""
    mixture = Mixture(tmp_path, seed=random.SystemRandom().randrange(10**6))

    found = mixture.run(lives=2, kills=5)

    assert not found, f"seed {mixture.seed}:\n" + "\n".join(found)
