"""What a submission passes in secret opens only in a worker with the key, for its own run."""

from pathlib import Path

import pytest

from appliance.config.model import Connection, Secrets
from appliance.errors import ConfigError
from appliance.temporal.keyring import Keyring, ensure_key
from appliance.temporal.sealing import seal, unseal

SECRETS = Secrets({"db": Connection("db", "postgres", password="hunter2")}, {"k": "v"})  # noqa: S106


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    ensure_key(tmp_path / "keys")
    return Keyring(tmp_path / "keys")


def test_what_was_sealed_opens_again(keys: Keyring) -> None:
    sealed = seal(SECRETS, "dag-a-1", keys)

    assert "hunter2" not in sealed
    assert unseal(sealed, "dag-a-1", keys) == SECRETS


def test_it_does_not_open_for_another_run(keys: Keyring) -> None:
    sealed = seal(SECRETS, "dag-a-1", keys)

    with pytest.raises(ConfigError, match="dag-a-2"):
        unseal(sealed, "dag-a-2", keys)
