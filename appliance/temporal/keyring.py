"""The keys that seal secrets on their way through Temporal: AES-256-GCM, one key file per appliance.

The file holds one key a line (32 bytes in base64), the current one first; older ones stay below it, so that what they
sealed still opens. A sealed text names its key by fingerprint, and is bound to its place: moved elsewhere in history, it
does not open. Who holds a keyring while the file is rotated or replaced follows it.
"""

import base64
import binascii
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.errors import ConfigError

_KEY_BYTES = 32
_NONCE_BYTES = 12
_Stamp = tuple[int, int]


def ensure_key(path: Path) -> None:
    """Make the key file with a fresh key unless it is there; two boxes may do so at once.

    Raises:
        ConfigError: it cannot be made.
    """
    if path.exists():
        return
    try:
        with _alone(path.parent), _draft(path, _fresh()) as draft:
            if not path.exists():
                draft.replace(path)
    except OSError as err:
        raise ConfigError(
            f"{path}: the key cannot be made there ({err.strerror}). Make the folder "
            "writable, or set APPLIANCE_KEY_FILE to a file that is there already."
        ) from err


def rotate(path: Path) -> "Keyring":
    """Put a fresh key above those of the file, which stay; return what is in it then.

    Raises:
        ConfigError: the file is no key file, or cannot be written.
    """
    real = path.resolve()
    try:
        with _alone(real.parent):
            old = Keyring(path)
            status = real.stat()
            with _draft(real, _fresh() + old.text) as draft:
                draft.chmod(stat.S_IMODE(status.st_mode))
                with suppress(PermissionError):
                    os.chown(draft, status.st_uid, status.st_gid)
                draft.replace(real)
    except OSError as err:
        raise ConfigError(_unwritable(path, err)) from err
    return Keyring(path)


class Keyring:
    """The keys of one key file, by fingerprint, the current one first."""

    def __init__(self, path: Path) -> None:
        """Read the keys.

        Raises:
            ConfigError: the file is missing, unreadable or holds something else.
        """
        self.path = path
        self._read()

    @property
    def fingerprint(self) -> str:
        """Names the current key; says nothing about it."""
        self._follow()
        return next(iter(self._keys))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Name every key, the current one first."""
        self._follow()
        return tuple(self._keys)

    def __contains__(self, fingerprint: str) -> bool:
        """Whether a text sealed with that key can be opened."""
        self._follow()
        return fingerprint in self._keys

    def seal(self, clear: bytes, *, place: str) -> str:
        """Return the text that opens only in ``place``."""
        name = self.fingerprint
        nonce = os.urandom(_NONCE_BYTES)
        box = AESGCM(self._keys[name]).encrypt(nonce, clear, place.encode())
        return f"{name}:{base64.b64encode(nonce + box).decode()}"

    def open(self, sealed: str, *, place: str, what: str) -> bytes:
        """Return what was sealed; ``what`` it is, for the error.

        Raises:
            ConfigError: sealed with a key this box does not have, or tampered with.
        """
        name = key_of(sealed)
        if name not in self:
            raise ConfigError(
                f"{what}: sealed with the key {name}, which is not in {self.path} "
                f"(there: {', '.join(self._keys)}). Give every container the same key "
                "file (APPLIANCE_KEY_FILE), or add that key's line to it; it is in "
                "the data folder of the box that sealed this, and in its backups. "
                "See docs/SECURITY.md#keys."
            )
        try:
            raw = base64.b64decode(sealed.partition(":")[2], validate=True)
            nonce, box = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
            return AESGCM(self._keys[name]).decrypt(nonce, box, place.encode())
        except (InvalidTag, binascii.Error, ValueError) as err:
            raise ConfigError(
                f"{what}: changed on the way since it was sealed; not used."
            ) from err

    @property
    def text(self) -> str:
        """The keys as the file has them."""
        keys = (base64.b64encode(key).decode() for key in self._keys.values())
        return "".join(f"{key}\n" for key in keys)

    def _follow(self) -> None:
        """Read the file again when it is another one; as long as it cannot be read, the old keys count."""
        with suppress(OSError, ConfigError):
            if _stamp(self.path) != self._seen:
                self._read()

    def _read(self) -> None:
        path = self.path
        try:
            seen = _stamp(path)
            lines = path.read_text(encoding="ascii").split()
            keys = [base64.b64decode(line, validate=True) for line in lines]
        except (OSError, binascii.Error, UnicodeDecodeError) as err:
            raise ConfigError(
                f"{path}: cannot read the key that secrets are sealed with on their "
                f"way through Temporal ({err}). It is made by the first start of the "
                "appliance; elsewhere, set APPLIANCE_KEY_FILE to a copy of it."
            ) from err
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ConfigError(
                f"{path}: holds no usable key; one line a key, 32 bytes in base64. "
                "Put back a copy of it; without one remove it, and a fresh key is "
                "made at the next start."
            )
        self._keys = {_fingerprint(key): key for key in keys}
        self._seen = seen


def key_of(sealed: str) -> str:
    """Return the fingerprint of the key a text was sealed with."""
    return sealed.partition(":")[0]


def _fresh() -> str:
    return base64.b64encode(AESGCM.generate_key(_KEY_BYTES * 8)).decode() + "\n"


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"appliance key " + key).hexdigest()[:16]


def _stamp(path: Path) -> _Stamp:
    seen = path.stat()
    return seen.st_ino, seen.st_mtime_ns


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """Write ``text`` beside ``path``, for its owner alone; removed in the end if it is still there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(file, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time change the keys in ``folder``."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _unwritable(path: Path, err: OSError) -> str:
    if err.errno == errno.EBUSY:
        return (
            f"{path}: is mounted as a single file, which cannot be replaced. Rotate "
            "where it comes from, or mount its folder instead."
        )
    return (
        f"{path}: a fresh key cannot be put there ({err.strerror}). Rotate as its "
        "owner, where it can be written, and give the file to every container."
    )
