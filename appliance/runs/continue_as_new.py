"""The state of a run that continues as new because its history has grown long.

Tries that run stay where they are: a worker owns them, and the fresh run takes over the lease from that worker. Until the
worker of each is known no new try begins; that takes a second or two.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from temporalio import workflow

from appliance.dagrun.attempt import RunFacts
from appliance.dagrun.deferral import Resumption
from appliance.dagrun.events import StartTask
from appliance.dagrun.machine import DagRun
from appliance.dagrun.plan import Plan
from appliance.runs.run_data import RunData
from appliance.temporal import compression, limits
from appliance.temporal.messages import DagExecutionInput

_SIZE_IS_TOLD = "size-is-told"
"""Since then the history says when a run was too large to be handed over."""
_TOO_LARGE = "too-large-to-hand-over"


@dataclass(frozen=True, slots=True)
class CarriedTry:
    """A try the machine has decided to start."""

    start: StartTask
    ti_id: str = ""
    """Empty: it has not begun."""
    queue: str = ""
    """Of the worker that holds it."""
    resume: Resumption | None = None
    poke_at: str | None = None
    """Set of a sensor that is poked over and over: when it is to be poked next."""

    @property
    def instance(self) -> tuple[str, int]:
        """Whose try it is."""
        return self.start.task_id, self.start.map_index

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Read what ``asdict`` wrote."""
        resume = body["resume"]
        read = {
            "start": StartTask(**body["start"]),
            "resume": Resumption(**resume) if resume else None,
        }
        return cls(**{**body, **read})


@dataclass(frozen=True, slots=True)
class CarriedRun:
    """A run at a moment when nothing is left to decide."""

    facts: RunFacts
    machine: DagRun
    ledger: RunData
    tries: Sequence[CarriedTry]
    waits: dict[str, Any]
    """As ``Waits`` writes them."""

    def onto(self, request: DagExecutionInput) -> DagExecutionInput:
        """Return the input of the fresh workflow run."""
        body = {
            "facts": asdict(self.facts),
            "machine": self.machine.to_json(),
            "ledger": self.ledger.to_json(),
            "tries": [asdict(one) for one in self.tries],
            "waits": self.waits,
        }
        return replace(request, carried=compression.packed(body))

    @classmethod
    def of(cls, text: str, plan: Plan) -> Self:
        """Read what ``onto`` wrote for a run of the same plan."""
        body: dict[str, Any] = compression.unpacked(text)
        return cls(
            RunFacts(**body["facts"]),
            DagRun.from_json(plan, body["machine"]),
            RunData.from_json(body["ledger"]),
            [CarriedTry.of(one) for one in body["tries"]],
            body["waits"],
        )


def is_too_large(fresh: DagExecutionInput) -> bool:
    """Tell whether a run cannot be handed over, as the history says it was decided.

    What zlib makes of a run differs between its versions, so that a replay must not decide anew.
    """
    is_large = limits.size_of(fresh) >= limits.PAYLOAD_BYTES
    is_told = workflow.patched(_SIZE_IS_TOLD)
    if is_told and workflow.unsafe.is_replaying():
        return workflow.patched(_TOO_LARGE)
    return is_large and (not is_told or workflow.patched(_TOO_LARGE))
