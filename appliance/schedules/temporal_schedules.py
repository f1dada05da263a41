"""Mirrors every schedule as a Temporal Schedule, so that people see it on the Schedules page of the Temporal UI.

There they pause, resume and trigger it and read when it runs next. A Temporal Schedule has no times of its own: only the
scheduler workflow makes runs, and a second clock beside it could only make one twice. Who made a change is known by what
both sides last agreed on, which the Temporal Schedule carries: what differs from that was pressed on its page.
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
"""To be raised when what is written below changes: then all are written anew."""
_PASS_S = 2.0
"""After that it is looked again what people have pressed."""
_NEAR_S = 5.0
_FAR_S = 30.0
_ROWS_PER_S = 100
"""For so many schedules there is a second more between two looks."""
_REFUSED_S = 600.0
_MAY_BE_FALSE = (
    "the Schedules page of the Temporal UI may be out of date; "
    "`appliance schedules` is, and needs none"
)
_POLICY = SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
_NOT_ALLOWED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)


@dataclass(frozen=True, slots=True)
class _Shown:
    """One Temporal Schedule as a listing has it."""

    is_paused: bool
    spec: bytes


@dataclass(frozen=True, slots=True)
class _Made:
    """What this worker knows of a Temporal Schedule that agrees with its schedule."""

    digest: str
    shown: _Shown


class TemporalSchedules:
    """Those of one task queue."""

    def __init__(self, client: Client, queue: str, schedules: SchedulesClient) -> None:
        """Nothing is known of what the server has."""
        self._client = client
        self._queue = queue
        self._schedules = schedules
        self._made: dict[str, _Made] = {}
        self._rows = 0
        self._was_refused = False
        """Whether the server allows no Temporal Schedules, which was told then."""

    @asynccontextmanager
    async def kept(self, *, is_near: bool) -> AsyncIterator[None]:
        """Keep page and scheduler in agreement; ``is_near``: the server is this box's own."""
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
        """Make page and scheduler agree; tell whether that has come to an end.

        Raises:
            RPCError: the server did not do some of it.
        """
        known = await self._schedules.schedules()
        if not known.is_ready:
            return True
        rows = {row.name: row for row in known.rows}
        self._rows = len(rows)
        seen = await self._seen()
        for name in seen.keys() - rows.keys():
            await self._delete(name)
        different = [
            row
            for name, row in rows.items()
            if name not in seen
            or self._made.get(name) != _Made(_digest(row), seen[name])
        ]
        # First what people may have pressed.
        different.sort(key=lambda row: row.name not in self._made)
        await self._settle_some(different)
        return not different

    async def _settle_some(self, different: list[ScheduleRow]) -> None:
        """Settle what there is time for, and take it off the list."""
        settled: list[ScheduleRow] = []
        failures: list[RPCError] = []
        deadline = time.monotonic() + _PASS_S
        while different and time.monotonic() < deadline:
            row = different.pop(0)
            try:
                settled.append(await self._settle(row))
            except RPCError as err:
                failures.append(err)  # The others can be shown all the same.
        seen = await self._seen() if settled else {}
        for row in settled:
            shown = seen.get(row.name)
            # Otherwise somebody has pressed a button since.
            if shown is not None and shown.is_paused == _is_paused(row):
                self._made[row.name] = _Made(_digest(row), shown)
        if failures:
            raise failures[0]

    async def _seen(self) -> dict[str, _Shown]:
        """Return our Temporal Schedules by the name of the schedule."""
        found = {}
        async for listed in await self._client.list_schedules():
            if (name := self._name(listed.id)) is not None:
                info = listed.raw_entry.info
                spec = info.spec.SerializeToString(deterministic=True)
                found[name] = _Shown(info.paused, spec)
        return found

    async def _delete(self, name: str) -> None:
        self._made.pop(name, None)
        try:
            await self._handle(name).delete()
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:  # Another worker was quicker.
                raise

    async def _settle(self, row: ScheduleRow) -> ScheduleRow:
        """Find out who has changed what, and tell the other side; return what both agree on now."""
        try:
            found = await self._handle(row.name).describe()
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:
                raise
            found = None
        last = await self._agreed(found) if found else None
        is_paused, note = _is_paused(row), None
        if found and last and found.schedule.state.paused != last.is_paused:
            state = found.schedule.state
            is_paused, note = state.paused, state.note
            await self._schedules.steer("pause" if is_paused else "resume", [row.name])
        if last and last.timetable is not None:
            # Version 0.1 had Temporal Schedules with times, which the scheduler waited for.
            await self._schedules.carry([])
        written = self._schedule(row, ScheduleAction(row.name, is_paused), note)
        if found is None:
            with suppress(ScheduleAlreadyRunningError):  # Another worker has made it.
                await self._client.create_schedule(self._id(row.name), written)
        else:
            await self._update(row.name, found, written)
        return replace(row, state="paused" if is_paused else "active")

    async def _update(
        self, name: str, found: ScheduleDescription, written: Schedule
    ) -> None:
        def update(seen: ScheduleUpdateInput) -> ScheduleUpdate | None:
            # Pressed in this moment: that is looked at next time.
            is_as_found = (
                seen.description.schedule.state.paused == found.schedule.state.paused
            )
            return ScheduleUpdate(written) if is_as_found else None

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

    async def _agreed(self, found: ScheduleDescription) -> ScheduleAction | None:
        """Return what was agreed on; None when somebody has written over it."""
        action = found.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow):
            return None
        converter = self._client.data_converter
        try:
            decoded = await converter.decode(action.args, [ScheduleAction])
        except Exception:  # noqa: BLE001 - whatever the converter says of what it cannot read
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
    """Say for people what the fields of a Temporal Schedule cannot."""
    lines = [f"{row.schedule}, of {row.source}."]
    lines += [f"Next run: {row.next_run}"] if row.next_run else []
    lines.append(f"More of its times: appliance schedules show {row.name}")
    lines += [row.note] if row.note else []
    return "\n".join(lines)


def _is_paused(row: ScheduleRow) -> bool:
    return row.state == "paused"


def _digest(row: ScheduleRow) -> str:
    """Tell what a Temporal Schedule shows of a schedule apart."""
    shown = (row.dag_id, row.state, _note(row), _FORM)
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]
