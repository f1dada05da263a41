"""Connects to the Temporal server: the bundled one, or the one the environment names.

TLS, API key and the rest come from the SDK's own environment configuration (``temporalio.envconfig``).
"""

import asyncio
import math
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import temporalio.client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from appliance.config.failed_start import noted_after
from appliance.config.model import Config
from appliance.errors import ApplianceError, ConfigError, TemporalUnreachable
from appliance.temporal.payloads import CONVERTER

_RETRY_S = 0.2


def address(config: Config) -> str:
    """``host:port`` of the server."""
    return config.temporal.address or f"127.0.0.1:{config.temporal.port}"


def workflow_id(dag_id: str, run_id: str) -> str:
    """Id of the workflow that is this run."""
    return f"dag-{dag_id}-{run_id}"


def worker_identity(name: str, slots: int) -> str:
    """Name a worker to the server, with how many tries it runs at once: others count on it."""
    return f"{name}/{slots}"


def worker_of(identity: str) -> tuple[str, int]:
    """Return name and slots of a worker; 0 slots if it does not say."""
    name, _, slots = identity.partition("/")
    return name, int(slots) if slots.isdecimal() else 0


def ui_url(config: Config, workflow: str) -> str:
    """Page of a workflow in the bundled UI; empty when the server is somebody else's."""
    if config.temporal.address:
        return ""
    path = quote(workflow, safe="")
    namespace = quote(config.temporal.namespace, safe="")
    port = config.temporal.ui_port
    return f"http://localhost:{port}/namespaces/{namespace}/workflows/{path}"


async def dial(
    config: Config, *, wait_s: float, **options: Any
) -> temporalio.client.Client:
    """Connect, trying again for up to ``wait_s`` while nothing answers.

    Raises:
        TemporalUnreachable: nothing answered in time, or it refused us.
        ConfigError: the TLS or profile settings cannot be used, or the box to be reached cannot start.
    """
    settings = {"data_converter": CONVERTER, **_settings(config), **options}
    began = time.monotonic()
    deadline = began + wait_s
    while True:
        try:
            return await temporalio.client.Client.connect(**settings)
        except (RPCError, RuntimeError) as err:
            if time.monotonic() >= deadline:
                raise unreachable(config, err) from err
            why = _given_up(config, waited_s=time.monotonic() - began)
            if why:
                raise ConfigError(why) from err
        await asyncio.sleep(_RETRY_S)


def _settings(config: Config) -> dict[str, Any]:
    if config.temporal.address is None:
        # What the environment or a profile says of TLS and keys is about another server.
        return {
            "target_host": address(config),
            "namespace": config.temporal.namespace,
        }
    try:
        found: dict[str, Any] = dict(
            ClientConfig.load_client_connect_config(
                override_env_vars={**os.environ, **config.temporal_env}
            )
        )
    except (RuntimeError, ValueError, OSError) as err:
        raise ConfigError(f"TEMPORAL_* environment: {err}") from err
    found["target_host"] = address(config)
    found["namespace"] = config.temporal.namespace
    return found


def _given_up(config: Config, *, waited_s: float = math.inf) -> str | None:
    """Say why this box, whose server it would be, could not start."""
    if config.temporal.address:
        return None
    why = noted_after(config.data, waited_s)
    return why and f"The appliance is not up; its last start ended with: {why}"


def unreachable(config: Config, err: Exception) -> ApplianceError:
    """Say that a call to the server failed, and what to look at."""
    if why := _given_up(config):
        return ConfigError(why)
    what = str(err).splitlines()[0][:300]
    where = address(config)
    if config.temporal.address:
        hint = "Check TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and TEMPORAL_TLS*."
    else:
        hint = f"Is the appliance up? Start it with `make up` (data folder {Path(config.data)})."
    return TemporalUnreachable(f"Temporal at {where} does not answer: {what}\n{hint}")
