"""The key file: who makes it, who may read it, and what opens after a rotation."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.errors import ConfigError
from appliance.temporal.keyring import Keyring, ensure_key, rotate


@pytest.fixture
def file(tmp_path: Path) -> Path:
    ensure_key(tmp_path / "keys")
    return tmp_path / "keys"


def test_the_key_file_is_for_its_owner_alone_and_made_once(file: Path) -> None:
    before = file.read_bytes()
    ensure_key(file)

    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == before


def test_boxes_that_start_together_share_one_key(tmp_path: Path) -> None:
    def start(_number: int) -> str:
        ensure_key(tmp_path / "keys")
        return Keyring(tmp_path / "keys").fingerprint

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(32)))) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "keys"]


def test_a_key_that_cannot_be_made_says_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing/keys.*APPLIANCE_KEY_FILE"):
        ensure_key(tmp_path / "missing" / "keys")


def test_what_was_sealed_opens_in_its_place_alone(file: Path) -> None:
    keys = Keyring(file)
    sealed = keys.seal(b"hunter2", place="here")

    assert "hunter2" not in sealed
    assert keys.open(sealed, place="here", what="it") == b"hunter2"
    with pytest.raises(ConfigError, match="the password: changed on the way"):
        keys.open(sealed, place="there", what="the password")


def test_an_old_key_still_opens_after_rotations(file: Path) -> None:
    before = Keyring(file)
    old, sealed = before.fingerprint, before.seal(b"x", place="p")

    rotate(file)
    keys = rotate(file)

    assert keys.fingerprints[2] == old
    assert keys.open(sealed, place="p", what="it") == b"x"
    assert not keys.seal(b"x", place="p").startswith(old)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_rotations_at_once_lose_no_key(file: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = {keys.fingerprint for keys in pool.map(rotate, [file] * 8)}

    assert len(Keyring(file).fingerprints) == 9
    assert made <= set(Keyring(file).fingerprints)


def test_who_holds_a_keyring_follows_a_rotation(file: Path) -> None:
    """A worker opens what ``submit`` sealed after a rotation, without a restart."""
    worker = Keyring(file)
    submission = rotate(file).seal(b"x", place="p")

    assert worker.open(submission, place="p", what="it") == b"x"
    assert worker.seal(b"y", place="p").partition(":")[0] == worker.fingerprint
    file.unlink()
    assert worker.open(submission, place="p", what="it") == b"x"


def test_a_linked_key_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    rotate(link)

    assert link.is_symlink()
    assert len(Keyring(file).fingerprints) == 2


def test_a_box_without_the_key_says_which_one_is_missing_and_what_to_do(
    file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    ensure_key(other)
    ours, theirs = Keyring(file), Keyring(other)

    with pytest.raises(ConfigError) as refused:
        theirs.open(ours.seal(b"x", place="p"), place="p", what="the variable v")

    assert "the variable v: sealed with the key " + ours.fingerprint in str(refused)
    for told in (str(other), theirs.fingerprint, "APPLIANCE_KEY_FILE"):
        assert told in str(refused.value)


@pytest.mark.parametrize("text", ["", "not base64!", "c2hvcnQ="])
def test_a_broken_key_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)

    for use in (Keyring, rotate):
        with pytest.raises(ConfigError, match=str(path)):
            use(path)
    assert path.read_text() == text
