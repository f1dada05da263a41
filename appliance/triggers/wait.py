"""One deferred wait: its trigger, the requests that the trigger may make, and how it ends."""

import asyncio
import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.dagrun.attempt import ActivityTaskInput
from appliance.dagrun.deferral import TriggerResult
from appliance.dagrun.states import TaskState
from appliance.forkserver.frames import Reply
from appliance.taskrun.logs import TryLog
from appliance.taskrun.masking import Masker
from appliance.taskrun.replies import Replies
from appliance.taskrun.startup import instance

_LARGEST_EVENT = 1 << 20
"""Bytes; an event travels through the run's history."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is waited for."""

    classpath: str
    kwargs: dict[str, Any]
    """As serde writes them."""
    dag_data: dict[str, Any] | None = None
    """The serialized DAG of a task that starts from its trigger: its arguments are templates still."""
    dag_run: dict[str, Any] | None = None
    masks: Sequence[str] = ()
    """Secrets that are in ``kwargs``, maybe."""


@dataclass(frozen=True, slots=True)
class Fired:
    """How a wait ended."""

    result: TriggerResult
    confirm: int | None = None
    """Of an event whose source is to forget it once it is safe here."""


class Wait:
    """A wait of this worker."""

    def __init__(
        self,
        task: ActivityTaskInput,
        workload: Workload,
        *,
        data: Path,
        masker: Masker,
        replies: Callable[[ActivityTaskInput, Masker], Replies],
    ) -> None:
        """Write its log below ``data``; ``replies`` makes what answers its trigger, when that asks."""
        self.task = task
        self.number = 0
        """Its id in the runner it was given to; 0 as long as it was not."""
        self.holders = 1
        """Attempts of its activity that wait for it here; after the server slept there are two for a while."""
        self.fired: asyncio.Future[Fired] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        """Set when its trigger writes no more."""
        self.masker = masker
        """The secrets of this wait."""
        masker.add(workload.masks)
        self.log = TryLog(task, data=data, masker=masker, now=_now)
        self._workload = workload
        self._make_replies = replies
        self._replies: Replies | None = None

    def to_create(self) -> dict[str, Any]:
        """Return Airflow's ``RunTrigger``."""
        deadline = self.task.trigger.deadline if self.task.trigger else None
        after = datetime.fromtimestamp(deadline, UTC).isoformat() if deadline else None
        return {
            "type": "RunTrigger",
            "id": self.number,
            "classpath": self._workload.classpath,
            # Text that begins like this is taken as it is, not as encrypted.
            "encrypted_kwargs": json.dumps(self._workload.kwargs),
            "ti": {**instance(self.task), "pool_slots": 1, "priority_weight": 1},
            "timeout_after": after,
            "dag_data": self._workload.dag_data,
            "dag_run_data": self._workload.dag_run,
        }

    async def answer(self, kind: str, body: dict[str, Any]) -> Reply:
        """Answer what its trigger asks."""
        if self._replies is None:
            self._replies = self._make_replies(self.task, self.masker)
        return await self._replies.answer(kind, body)

    async def fire(self, event: dict[str, Any], confirm: int | None) -> None:
        """Take its event; only the first one counts. One that cannot be taken fails the wait."""
        try:
            await self._fire(event, confirm)
        except Exception:  # noqa: BLE001 - nobody else would hear of it
            self.fail(traceback.format_exc().splitlines(keepends=True))

    async def _fire(self, event: dict[str, Any], confirm: int | None) -> None:
        if (state := event.get("task_instance_state")) is not None:
            for key, value in (event.get("xcoms") or {}).items():
                reply = await self.answer("SetXCom", self._xcom(key, value))
                if reply.error:
                    self.fail([f"its XCom {key} could not be kept: {reply.error}"])
                    return
            self._end(TriggerResult(state=TaskState(state), xcoms=self._xcoms()))
            return
        payload = event.get("payload")
        size = len(json.dumps(payload))
        if size > _LARGEST_EVENT:
            self.fail([f"the trigger's event has {size} bytes; {_LARGEST_EVENT} fit"])
            return
        self._end(TriggerResult(event=payload, xcoms=self._xcoms()), confirm)

    def fail(self, lines: list[str] | None) -> None:
        """Note that the trigger failed; ``lines`` of its traceback."""
        hidden = self.masker.hide(lines)
        self._end(TriggerResult(failed=True, traceback=hidden))

    def finish(self) -> None:
        """Note that its trigger writes no more."""
        self.log.close()
        self.over.set()

    def _end(self, result: TriggerResult, confirm: int | None = None) -> None:
        if not self.fired.done():
            self.fired.set_result(Fired(result, confirm))

    def _xcom(self, key: str, value: Any) -> dict[str, Any]:
        run = self.task.run
        return {
            "key": key,
            "value": value,
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "task_id": self.task.task_id,
            "map_index": self.task.map_index,
        }

    def _xcoms(self) -> tuple[dict[str, Any], ...]:
        if self._replies is None:
            return ()
        pushed = self._replies.outcome(TaskState.DEFERRED, start_date="", now=_now())
        return tuple(asdict(row) for row in pushed.xcoms)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the edge that takes the time
