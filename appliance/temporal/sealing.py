"""Seals the secrets of a submission, and what a deferred try passes on: neither is readable in history."""

import json
from dataclasses import asdict
from typing import Any

from appliance.config.model import Connection, Secrets
from appliance.errors import ConfigError
from appliance.temporal.keyring import Keyring


def seal(secrets: Secrets, workflow_id: str, keys: Keyring, *, dag_id: str) -> str:
    """Return the text that only the run ``workflow_id`` of this DAG can open; a run of another DAG may have that id, too."""
    body = {**asdict(secrets), "dag_id": dag_id}
    return keys.seal(json.dumps(body).encode(), place=workflow_id)


def unseal(sealed: str, workflow_id: str, keys: Keyring, *, dag_id: str) -> Secrets:
    """Return what was sealed; by version 0.1 for any DAG.

    Raises:
        ConfigError: sealed with a key this box does not have, for something else, or tampered with.
    """
    what = f"the connections and variables {workflow_id} was submitted with"
    body = json.loads(keys.open(sealed, place=workflow_id, what=what))
    if "variables" not in body or body.get("dag_id", dag_id) != dag_id:
        raise ConfigError(f"{what}: sealed for something else; not used.")
    return Secrets(
        connections={k: Connection(**v) for k, v in body["connections"].items()},
        variables=body["variables"],
    )


def seal_parked(value: Any, workflow_id: str, keys: Keyring) -> str:
    """Seal what a try hands on that parks itself: it may hold secrets."""
    return keys.seal(json.dumps(value).encode(), place=workflow_id)


def unseal_parked(sealed: str, workflow_id: str, keys: Keyring) -> Any:
    """Return what ``seal_parked`` was given; raises as ``unseal`` does."""
    what = f"what a deferred task of {workflow_id} goes on with"
    return json.loads(keys.open(sealed, place=workflow_id, what=what))
