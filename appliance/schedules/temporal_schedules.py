"""Mirrors every schedule as a Temporal Schedule, so that people see it on the Schedules page of the Temporal UI.

There they pause, resume and trigger it; its note says when it runs next. A Temporal Schedule has no times of its own:
only the scheduler workflow makes runs, and a second clock could only make some of them twice. It carries the state that
both sides last agreed on; if its own state differs from that, a person pressed a button on its page.
"""

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from appliance.schedules.client import SchedulesClient
from appliance.schedules.messages import ACTION_WORKFLOW, ScheduleAction, ScheduleRow
from appliance.temporal.background_loop import repeating
from appliance.temporal.limits import shortened

_LOG = logging.getLogger(__name__)
_PREFIX = "airflow-schedule-"
_FORM = 2
"""Version of what ``_schedule`` writes. Raise it with each change there: then all are written again."""
_PASS_S = 2.0
"""After so long, buttons that were pressed meanwhile come first again."""
_NEAR_S = 5.0
_FAR_S = 30.0
_ROWS_PER_S = 100
"""For each 100 schedules, a second more between two passes."""
_REFUSED_S = 600.0
_MAY_BE_FALSE = (
    "the Schedules page of the Temporal UI may be out of date; "
    "`appliance schedules` is, and needs none"
)
_POLICY = SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
_NOT_ALLOWED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)


@dataclass(frozen=True, slots=True)
class _Shown:
    """State of a Temporal Schedule, as a listing returns it."""

    is_paused: bool
    spec: bytes


@dataclass(frozen=True, slots=True)
class _Settled:
    """A Temporal Schedule that agreed with its schedule when this worker looked last."""

    digest: str
    shown: _Shown


class TemporalSchedules:
    """Temporal Schedules of one task queue."""

    def __init__(self, client: Client, queue: str, schedules: SchedulesClient) -> None:
        """Connect to nothing yet."""
        self._client = client
        self._queue = queue
        self._schedules = schedules
        self._settled: dict[str, _Settled] = {}
        self._rows = 0
        self._was_refused = False
        """Whether the server allowed no Temporal Schedules, which was logged then."""

    @asynccontextmanager
    async def kept(self, *, is_near: bool) -> AsyncIterator[None]:
        """Mirror until the block is left; ``is_near``: the server is this appliance's own, so look more often."""
        pause_s = _NEAR_S if is_near else _FAR_S

        async def look() -> float:
            try:
                is_done = await self.agree()
            except RPCError as err:
                if err.status not in _NOT_ALLOWED:
                    raise
                if not self._was_refused:
                    _LOG.warning("%s (%s)", _MAY_BE_FALSE, err)
                self._was_refused = True
                return _REFUSED_S
            return pause_s + self._rows / _ROWS_PER_S if is_done else 0.1

        async with repeating(_MAY_BE_FALSE, look, most_s=_FAR_S):
            yield

    async def agree(self) -> bool:
        """Make one pass; return whether all Temporal Schedules agree with their schedules now.

        Raises:
            RPCError: the server failed for some of them.
        """
        schedules = await self._schedules.schedules()
        if not schedules.is_ready:
            return True
        rows = {row.name: row for row in schedules.rows}
        self._rows = len(rows)
        shown = await self._shown()
        for name in shown.keys() - rows.keys():
            await self._delete(name)
        different = [
            row
            for name, row in rows.items()
            if name not in shown
            or self._settled.get(name) != _Settled(_digest(row), shown[name])
        ]
        # First those on whose page a button may have been pressed.
        different.sort(key=lambda row: row.name not in self._settled)
        await self._settle_some(different)
        return not different

    async def _settle_some(self, different: list[ScheduleRow]) -> None:
        """Settle as many as there is time for, and remove them from the list."""
        settled: list[ScheduleRow] = []
        failures: list[RPCError] = []
        deadline = time.monotonic() + _PASS_S
        while different and time.monotonic() < deadline:
            row = different.pop(0)
            try:
                settled.append(await self._settle(row))
            except RPCError as err:
                failures.append(err)  # The others can be settled all the same.
        shown = await self._shown() if settled else {}
        for row in settled:
            one = shown.get(row.name)
            # If it differs, a button was pressed since.
            if one is not None and one.is_paused == _is_paused(row):
                self._settled[row.name] = _Settled(_digest(row), one)
        if failures:
            raise failures[0]

    async def _shown(self) -> dict[str, _Shown]:
        """Return schedule name -> its Temporal Schedule."""
        shown = {}
        async for listed in await self._client.list_schedules():
            if (name := self._name(listed.id)) is not None:
                info = listed.raw_entry.info
                spec = info.spec.SerializeToString(deterministic=True)
                shown[name] = _Shown(info.paused, spec)
        return shown

    async def _delete(self, name: str) -> None:
        self._settled.pop(name, None)
        try:
            await self._handle(name).delete()
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:  # Another worker was quicker.
                raise

    async def _settle(self, row: ScheduleRow) -> ScheduleRow:
        """Pass a change on to the side that lacks it; return the row as both agree on it now."""
        try:
            described = await self._handle(row.name).describe()
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:
                raise
            described = None
        last = await self._agreed(described) if described else None
        is_paused, note = _is_paused(row), None
        if described and last and described.schedule.state.paused != last.is_paused:
            state = described.schedule.state
            is_paused, note = state.paused, state.note
            await self._schedules.steer("pause" if is_paused else "resume", [row.name])
        if last and last.timetable is not None:
            # Of version 0.1, whose scheduler waited for it to ring.
            await self._schedules.stop_waiting_for_rings()
        written = self._schedule(row, ScheduleAction(row.name, is_paused), note)
        if described is None:
            with suppress(ScheduleAlreadyRunningError):  # Another worker made it.
                await self._client.create_schedule(self._id(row.name), written)
        else:
            await self._update(row.name, described, written)
        return replace(row, state="paused" if is_paused else "active")

    async def _update(
        self, name: str, described: ScheduleDescription, written: Schedule
    ) -> None:
        was_paused = described.schedule.state.paused

        def update(current: ScheduleUpdateInput) -> ScheduleUpdate | None:
            # A button that was pressed meanwhile counts in the next pass.
            is_unchanged = current.description.schedule.state.paused == was_paused
            return ScheduleUpdate(written) if is_unchanged else None

        await self._handle(name).update(update)

    def _schedule(
        self, row: ScheduleRow, agreed: ScheduleAction, note: str | None
    ) -> Schedule:
        action = ScheduleActionStartWorkflow(
            ACTION_WORKFLOW,
            agreed,
            id=self._id(row.name),
            task_queue=self._queue,
            static_summary=shortened(f"{row.dag_id} · {row.schedule}"),
        )
        state = ScheduleState(note=note or _note(row), paused=agreed.is_paused)
        return Schedule(action=action, spec=ScheduleSpec(), policy=_POLICY, state=state)

    async def _agreed(self, described: ScheduleDescription) -> ScheduleAction | None:
        """Return what both sides last agreed on; None: a person has overwritten it."""
        action = described.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow):
            return None
        converter = self._client.data_converter
        try:
            decoded = await converter.decode(action.args, [ScheduleAction])
        except Exception:  # noqa: BLE001 - whatever the converter raises for input it cannot read
            return None
        return decoded[0] if isinstance(decoded[0], ScheduleAction) else None

    def _handle(self, name: str) -> ScheduleHandle:
        return self._client.get_schedule_handle(self._id(name))

    def _id(self, name: str) -> str:
        return f"{_PREFIX}{name}@{self._queue}"

    def _name(self, schedule_id: str) -> str | None:
        if not schedule_id.startswith(_PREFIX):
            return None
        name, _, queue = schedule_id.removeprefix(_PREFIX).rpartition("@")
        return name if queue == self._queue else None


def _note(row: ScheduleRow) -> str:
    """Return the note: what the fields of a Temporal Schedule cannot say."""
    lines = [f"{row.schedule}, of {row.source}."]
    lines += [f"Next run: {row.next_run}"] if row.next_run else []
    lines.append(f"More of its times: appliance schedules show {row.name}")
    lines += [row.note] if row.note else []
    return "\n".join(lines)


def _is_paused(row: ScheduleRow) -> bool:
    return row.state == "paused"


def _digest(row: ScheduleRow) -> str:
    """Return a digest of what a Temporal Schedule shows of a schedule."""
    content = (row.dag_id, row.state, _note(row), _FORM)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
