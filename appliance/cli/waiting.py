"""Wait for a run to end, silent or with live output, and the message when the wait ends first."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from appliance.cli.command import Interrupted
from appliance.cli.context import Server
from appliance.cli.output import coloured, task_name
from appliance.dagrun.states import FINISHED
from appliance.errors import TemporalUnreachable, WaitTimeout
from appliance.runs.reports import RunReport
from appliance.sockets.submit_request import Submitted

if TYPE_CHECKING:
    from appliance.cli.log_tail import LogTail

LOOK_EVERY_S = 0.5


class LiveAccount:
    """Prints what changed in a run since it last looked: new states, and the lines tasks logged between them."""

    def __init__(self, *, say: Callable[[str], None], tail: "LogTail") -> None:
        self._say = say
        self._tail = tail
        self._seen: dict[tuple[str, int], tuple[str | None, int]] = {}

    def look(self, report: RunReport) -> None:
        """Print starts before the lines logged, and ends after them."""
        changed = []
        for row in report.tasks:
            key, now = (row.task_id, row.map_index), (row.state, row.try_number)
            if row.state is not None and self._seen.get(key) != now:
                self._seen[key] = now
                name = task_name(row.task_id, row.map_index)
                text = f"{name} try {row.try_number}: {coloured(row.state)}"
                changed.append((row.state in FINISHED, text))
        self._print(changed, finished=False)
        for line in self._tail.lines():
            self._say(line)
        self._print(changed, finished=True)

    def _print(self, changed: list[tuple[bool, str]], *, finished: bool) -> None:
        for is_finished, text in changed:
            if is_finished == finished:
                self._say(text)


async def wait_for(
    server: Server,
    run: Submitted,
    *,
    timeout_s: float | None,
    look: Callable[[RunReport], None] | None = None,
) -> RunReport:
    """Wait for the end of a run. Raises: WaitTimeout and Interrupted, the run goes on."""
    ending = asyncio.ensure_future(server.result(run.workflow_id, timeout_s=timeout_s))
    try:
        while look is not None and not ending.done():
            # Without a worker nobody answers for a while; the run waits for one, and so do we.
            with suppress(TemporalUnreachable):
                look(await server.report(run.workflow_id))
            await asyncio.wait((ending,), timeout=LOOK_EVERY_S)
        report = await ending
    except WaitTimeout as err:
        raise WaitTimeout(
            f"{run.run_id} has not ended after {timeout_s:g} s.\n{goes_on(run)}"
        ) from err
    except asyncio.CancelledError as err:
        raise Interrupted(f"Interrupted.\n{goes_on(run)}") from err
    finally:
        ending.cancel()
    if look is not None:
        look(report)
    return report


def goes_on(run: Submitted) -> str:
    """Say that the run goes on and how to come back to it."""
    words = f"{run.dag_id} {run.run_id}"
    return (
        f"The run goes on. Look again: appliance runs wait {words}\n"
        f"                   End it: appliance cancel {words}"
    )
