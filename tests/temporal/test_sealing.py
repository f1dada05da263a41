"""What a submission passes in secret opens only in a worker with the key, for its own run."""

import json
from pathlib import Path

import pytest

from appliance.config.model import Connection, Secrets
from appliance.errors import ConfigError
from appliance.temporal.keyring import Keyring, ensure_key
from appliance.temporal.sealing import seal, seal_parked, unseal

SECRETS = Secrets({"db": Connection("db", "postgres", password="hunter2")}, {"k": "v"})  # noqa: S106


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    ensure_key(tmp_path / "keys")
    return Keyring(tmp_path / "keys")


def test_what_was_sealed_opens_again(keys: Keyring) -> None:
    sealed = seal(SECRETS, "dag-a-1", keys, dag_id="a")

    assert "hunter2" not in sealed
    assert unseal(sealed, "dag-a-1", keys, dag_id="a") == SECRETS


def test_it_does_not_open_for_another_dag_whose_run_has_the_same_id(
    keys: Keyring,
) -> None:
    sealed = seal(SECRETS, "dag-a-b-1", keys, dag_id="a-b")

    assert unseal(sealed, "dag-a-b-1", keys, dag_id="a-b") == SECRETS
    with pytest.raises(ConfigError, match="sealed for something else"):
        unseal(sealed, "dag-a-b-1", keys, dag_id="a")


def test_what_a_deferred_task_hands_on_is_nothing_a_run_was_submitted_with(
    keys: Keyring,
) -> None:
    parked = seal_parked({"next_kwargs": {}}, "dag-a-1", keys)

    with pytest.raises(ConfigError, match="sealed for something else"):
        unseal(parked, "dag-a-1", keys, dag_id="a")


def test_what_version_0_1_sealed_opens(keys: Keyring) -> None:
    body = {"connections": {}, "variables": {"k": "v"}}
    sealed = keys.seal(json.dumps(body).encode(), place="dag-a-1")

    assert unseal(sealed, "dag-a-1", keys, dag_id="a").variables == {"k": "v"}


def test_it_does_not_open_for_another_run(keys: Keyring) -> None:
    sealed = seal(SECRETS, "dag-a-1", keys, dag_id="a")

    with pytest.raises(ConfigError, match="dag-a-2"):
        unseal(sealed, "dag-a-2", keys, dag_id="a")
