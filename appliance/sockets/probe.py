"""Checks server, worker and UI for ``appliance health``; whatever is not known to be well is not well."""

import asyncio
from dataclasses import replace

from temporalio.client import Client

from appliance.config.model import Config
from appliance.sockets.health_client import ask, ui_why_not
from appliance.sockets.submit_client import folder_of
from appliance.temporal.failing_workflows import failing_workflows
from appliance.temporal.health import PartHealth, ProbeResult
from appliance.temporal.server_health import serves

_UNKNOWN = PartHealth(ok=False)


async def probe(client: Client, config: Config) -> ProbeResult:
    """Ask the server for the namespace and for failing workflows, the worker how it is, and the UI for a page."""
    ui = asyncio.to_thread(_ui, config)
    rest = asyncio.to_thread(_worker_and_rest, config)
    failing = failing_workflows(client, config.temporal.task_queue)
    server, workflows, answer, page = await asyncio.gather(
        serves(client), failing, rest, ui
    )
    return replace(answer, server=server, workflows=workflows, ui=page)


def _worker_and_rest(config: Config) -> ProbeResult:
    """Ask the worker itself: the server lists one for minutes after its death."""
    try:
        answer = ask(folder_of(config))
    except (OSError, ValueError) as err:
        why = f"the worker of this box does not answer: {err}"
        return ProbeResult(_UNKNOWN, PartHealth(ok=False, why=why))
    worker, room, state = (PartHealth(**answer[n]) for n in ("worker", "room", "state"))
    return ProbeResult(_UNKNOWN, worker, room, state, warnings=answer["warnings"])


def _ui(config: Config) -> PartHealth | None:
    why_not = ui_why_not(folder_of(config))
    return None if why_not is None else PartHealth(ok=not why_not, why=why_not)
