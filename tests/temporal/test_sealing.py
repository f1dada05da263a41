"""What a submission passes in secret opens only in a worker with the key, for its own run."""

from pathlib import Path

import pytest

from appliance.config.model import Connection, Secrets
from appliance.errors import ConfigError
from appliance.temporal.sealing import Keyring, ensure_key

SECRETS = Secrets({"db": Connection("db", "postgres", password="hunter2")}, {"k": "v"})  # noqa: S106


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    ensure_key(tmp_path / "keys")
    return Keyring(tmp_path / "keys")


def test_what_was_sealed_opens_again(keys: Keyring) -> None:
    sealed = keys.seal(SECRETS, "dag-a-1")

    assert "hunter2" not in sealed
    assert keys.open(sealed, "dag-a-1") == SECRETS


def test_it_does_not_open_for_another_run(keys: Keyring) -> None:
    sealed = keys.seal(SECRETS, "dag-a-1")

    with pytest.raises(ConfigError, match="dag-a-2"):
        keys.open(sealed, "dag-a-2")


def test_an_old_key_below_the_new_one_still_opens(tmp_path: Path) -> None:
    file, fresh = tmp_path / "keys", tmp_path / "fresh"
    ensure_key(file)
    sealed = Keyring(file).seal(SECRETS, "w")
    ensure_key(fresh)
    file.write_text(fresh.read_text() + file.read_text())

    keys = Keyring(file)

    assert keys.open(sealed, "w") == SECRETS
    assert keys.fingerprint == Keyring(fresh).fingerprint


def test_a_box_without_the_key_says_which_one_is_missing(
    keys: Keyring, tmp_path: Path
) -> None:
    ensure_key(tmp_path / "other")
    other = Keyring(tmp_path / "other")

    with pytest.raises(ConfigError, match=keys.fingerprint):
        other.open(keys.seal(SECRETS, "w"), "w")


def test_the_key_file_is_for_its_owner_alone_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    ensure_key(path)
    before = path.read_bytes()
    ensure_key(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "not base64!", "c2hvcnQ="])
def test_a_broken_key_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)

    with pytest.raises(ConfigError, match=str(path)):
        Keyring(path)
