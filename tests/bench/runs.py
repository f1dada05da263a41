"""Starts runs on a box, and tells from when to when they were there by the server's own account."""

import time
from datetime import datetime

from temporalio.client import Client

from tests.box import RunningBox

CHAIN = 50
"""Tasks of ``bench_chain`` and ``bench_pooled``."""


def address(box: RunningBox) -> str:
    """Return where the server of a box listens."""
    return f"127.0.0.1:{box.environ['APPLIANCE_PORT']}"


def submit(box: RunningBox, dag_id: str, *options: str) -> tuple[str, float]:
    """Submit a run; return its workflow id and the seconds the command took."""
    began = time.monotonic()
    submitted = box.submit(dag_id, *options, "-o", "json")
    took_s = time.monotonic() - began
    assert submitted.code == 0, submitted.stderr
    return str(submitted.json["workflow_id"]), took_s


async def run_s(client: Client, workflow_id: str) -> float:
    """Wait for the end of a run; return how long it took."""
    start, end = await start_and_end(client, workflow_id)
    return (end - start).total_seconds()


async def start_and_end(client: Client, workflow_id: str) -> tuple[datetime, datetime]:
    """Wait for the end of a run; return when it started and when it ended."""
    handle = client.get_workflow_handle(workflow_id)
    await handle.result()
    seen = await handle.describe()
    assert seen.close_time is not None
    return seen.start_time, seen.close_time
