"""Health of the parts of this appliance; whatever is not known to be well is not well."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from appliance.config.model import Config
from appliance.temporal.health import PartHealth, ProbeResult

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the appliance is well, and one line per part."""

    ok: bool
    lines: tuple[str, ...]
    warnings: Sequence[str] = ()
    """What is missing although all parts are well."""


async def health(
    config: Config,
    probe: Callable[[], Awaitable[ProbeResult]],
    *,
    timeout_s: float = _TIMEOUT_S,
) -> Health:
    """Ask for the parts that this appliance has: a server without a worker needs none polling.

    Args:
        config: which parts there are.
        probe: asks server and worker; anything it raises means they are not well.
        timeout_s: how long it may take.
    """
    asked = asyncio.wait_for(probe(), timeout_s)
    (answer,) = await asyncio.gather(asked, return_exceptions=True)
    if isinstance(answer, BaseException):
        answer = _unknown(answer, timeout_s)
    parts = {"temporal": answer.server}
    if config.runs_worker:
        parts["worker"] = answer.worker
        more = {
            "room": answer.room,
            "state": answer.state,
            "workflows": answer.workflows,
        }
        parts |= {name: part for name, part in more.items() if part is not None}
    if answer.ui is not None:
        parts["ui"] = answer.ui
    lines = [f"{name:<9} {_line(part)}" for name, part in parts.items()]
    is_well = all(part.ok for part in parts.values())
    return Health(is_well, tuple(lines), answer.warnings)


def _unknown(err: BaseException, timeout_s: float) -> ProbeResult:
    if isinstance(err, TimeoutError):
        why = f"no answer within {timeout_s:g} s"
    else:
        why = (str(err) or type(err).__name__).splitlines()[0]
    unknown = PartHealth(ok=False, why=why)
    return ProbeResult(server=unknown, worker=unknown)


def _line(part: PartHealth) -> str:
    return "ok" if part.ok else f"NOT OK: {part.why or 'no reason is known'}"
