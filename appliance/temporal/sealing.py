"""Seals what a submission passes besides its conf, so that it never enters history in clear."""

import json
from dataclasses import asdict

from appliance.config.model import Connection, Secrets
from appliance.temporal.keyring import Keyring


def seal(secrets: Secrets, workflow_id: str, keys: Keyring) -> str:
    """Return the text that only the run ``workflow_id`` can open."""
    return keys.seal(json.dumps(asdict(secrets)).encode(), place=workflow_id)


def unseal(sealed: str, workflow_id: str, keys: Keyring) -> Secrets:
    """Return what was sealed.

    Raises:
        ConfigError: sealed with a key this box does not have, or tampered with.
    """
    what = f"the connections and variables {workflow_id} was submitted with"
    body = json.loads(keys.open(sealed, place=workflow_id, what=what))
    return Secrets(
        connections={k: Connection(**v) for k, v in body["connections"].items()},
        variables=body["variables"],
    )
