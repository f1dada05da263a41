"""Private parts of Airflow's triggerer that the appliance uses, only in the triggerer's process.

On an upgrade read this list against the new source:

* ``jobs.triggerer_job_runner``: ``TriggerRunner.run`` serves the fd 0 until SIGTERM, and asks with
  ``TriggerStateChanges`` for what to do; ``process_trigger_events`` empties ``events`` into that message, and
  ``failed_triggers``; ``triggers`` has those that run, by id; ``_RequestFrame`` is looked up in the module, once a question;
  ``run_trigger`` binds ``trigger_id`` in structlog's context variables.
* ``sdk.execution_time.comms``: a request's third element is a dict of texts that a supervisor may read;
  ``_new_encoder`` writes what crosses the wire.
* ``serialization.enums.stringify_encoding_keys``, ``models.trigger`` (Trigger.encrypt_kwargs, _decode_next_kwargs):
  how the arguments of a trigger and of the method after it are kept; ``models.taskinstance.TaskInstance.defer_task``: how a task starts from one.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from airflow.jobs import triggerer_job_runner
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import _decode_next_kwargs
from airflow.sdk import serde
from airflow.sdk.execution_time import comms
from airflow.serialization.enums import stringify_encoding_keys
from airflow.serialization.serialized_objects import DagSerialization
from structlog.contextvars import get_contextvars

from appliance.forkserver import large_integers
from appliance.forkserver.orphans import Suspects

ASKED_BY = "trigger_id"


def run_triggers() -> None:
    """Run triggers as told over fd 0 until SIGTERM."""
    frame = comms._RequestFrame  # noqa: SLF001 - pinned, listed above

    def asked_by_trigger(**fields: Any) -> Any:
        """Tell who asks: triggers of many runs share the channel."""
        trigger_id = get_contextvars().get(ASKED_BY)
        carrier = None if trigger_id is None else {ASKED_BY: str(trigger_id)}
        return frame(**fields, context_carrier=carrier)

    triggerer_job_runner._RequestFrame = asked_by_trigger  # noqa: SLF001 - pinned, listed above
    _Runner().run()


class _Runner(TriggerRunner):  # type: ignore[misc]
    """Writes payloads as they are kept, where their classes are known; ends what triggers leave behind."""

    def __init__(self) -> None:
        super().__init__()
        self._suspects = Suspects()

    def process_trigger_events(self, finished_ids: list[int]) -> Any:
        self._suspects.look(self.triggers)
        for _ in range(len(self.events)):
            entry = self.events.popleft()
            try:
                entry.event.payload = _written(entry.event.payload)
            except Exception as error:  # noqa: BLE001 - the user's objects decide what is raised
                self.failed_triggers.append((entry.trigger_id, error))
            else:
                self.events.append(entry)
        return super().process_trigger_events(finished_ids)


def _written(payload: Any) -> Any:
    """Return a payload as serde writes it, after the way over Airflow's own wire, which makes lists of tuples."""
    wire = comms._new_encoder().encode(payload)  # noqa: SLF001 - pinned, listed above
    return serde.serialize(msgspec.msgpack.decode(wire, ext_hook=large_integers.read))


def start_of(serialized: Mapping[str, Any], task_id: str) -> dict[str, Any]:
    """Return what a task that starts from its trigger waits for, and how it goes on."""
    args = DagSerialization.from_dict(serialized).get_task(task_id).start_trigger_args
    next_kwargs = stringify_encoding_keys(args.next_kwargs or {})
    return {
        "classpath": args.trigger_cls,
        "trigger_kwargs": serde.serialize(
            stringify_encoding_keys(args.trigger_kwargs or {})
        ),
        "next_method": args.next_method,
        "next_kwargs": serde.serialize(_decode_next_kwargs(next_kwargs)),
    }
