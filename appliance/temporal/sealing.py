"""Encrypts what a submission passes besides its conf, so that it never enters history in clear.

AES-256-GCM; the associated data is the workflow id, so a sealed text opens only for its own run. A sealed text
names its key by fingerprint. The key file holds one key a line (base64), the current one first; older ones stay
below it so that runs sealed with them still open.
"""

import base64
import binascii
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.config.model import Connection, Secrets
from appliance.errors import ConfigError

_KEY_BYTES = 32
_NONCE_BYTES = 12


def ensure_key(path: Path) -> None:
    """Make the key file with a fresh key unless it is there."""
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    with os.fdopen(file, "wb") as out:
        out.write(base64.b64encode(AESGCM.generate_key(_KEY_BYTES * 8)) + b"\n")


class Keyring:
    """The keys of one key file, by fingerprint, the current one first."""

    def __init__(self, path: Path) -> None:
        """Read the keys.

        Raises:
            ConfigError: the file is missing, unreadable or holds something else.
        """
        self._path = path
        try:
            lines = path.read_text(encoding="ascii").split()
            keys = [base64.b64decode(line, validate=True) for line in lines]
        except (OSError, binascii.Error, UnicodeDecodeError) as err:
            raise ConfigError(
                f"{path}: cannot read the key that connections and variables of a "
                f"submission are sealed with ({err}). It is made by the first "
                "start of the appliance; elsewhere, set APPLIANCE_KEY_FILE to a "
                "copy of it."
            ) from err
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ConfigError(
                f"{path}: holds no usable key; one line a key, 32 bytes in base64."
            )
        self._keys = {_fingerprint(key): key for key in keys}

    @property
    def fingerprint(self) -> str:
        """Names the current key; says nothing about it."""
        return next(iter(self._keys))

    def __contains__(self, fingerprint: str) -> bool:
        """Whether a text sealed with that key can be opened."""
        return fingerprint in self._keys

    def seal(self, secrets: Secrets, workflow_id: str) -> str:
        """Return the text that only the run ``workflow_id`` can open."""
        name = self.fingerprint
        nonce = os.urandom(_NONCE_BYTES)
        clear = json.dumps(asdict(secrets)).encode()
        box = AESGCM(self._keys[name]).encrypt(nonce, clear, workflow_id.encode())
        return f"{name}:{base64.b64encode(nonce + box).decode()}"

    def open(self, sealed: str, workflow_id: str) -> Secrets:
        """Return what was sealed.

        Raises:
            ConfigError: sealed with a key this box does not have, or tampered with.
        """
        name, _, text = sealed.partition(":")
        if name not in self._keys:
            raise ConfigError(
                f"{workflow_id}: its connections and variables are sealed with the "
                f"key {name}, which is not in {self._path}. Give every container "
                "the same key file (APPLIANCE_KEY_FILE)."
            )
        try:
            raw = base64.b64decode(text, validate=True)
            nonce, box = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
            clear = AESGCM(self._keys[name]).decrypt(nonce, box, workflow_id.encode())
        except (InvalidTag, binascii.Error, ValueError) as err:
            raise ConfigError(
                f"{workflow_id}: its sealed connections and variables were changed "
                "on the way and are not used."
            ) from err
        body = json.loads(clear)
        return Secrets(
            connections={k: Connection(**v) for k, v in body["connections"].items()},
            variables=body["variables"],
        )


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"appliance key " + key).hexdigest()[:16]
