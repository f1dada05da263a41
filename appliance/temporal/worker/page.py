"""The page of schedules in the Temporal UI: a Temporal Schedule for each schedule the scheduler has.

There people see when a DAG runs, pause and resume it, trigger and backfill it. Who made a change is known by what both
sides last agreed on, which the Temporal Schedule carries: what differs from that was pressed on its page.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

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

from appliance.dagrun.agenda import CARRIED_LATE_S
from appliance.temporal import orders
from appliance.temporal.client.schedules import Schedules
from appliance.temporal.limits import shortened
from appliance.temporal.orders import ScheduleAction, ScheduleRow
from appliance.temporal.worker.native import Ask, Proofs, candidate

_LOG = logging.getLogger(__name__)
_PASS_S = 2.0
"""After that it is looked again what people have pressed."""
_POLICY = SchedulePolicy(
    # Each is a message that takes no time, and late the scheduler knows by itself what to do.
    overlap=ScheduleOverlapPolicy.ALLOW_ALL,
    catchup_window=timedelta(seconds=CARRIED_LATE_S),
)
_NOT_ALLOWED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)


class Page:
    """That of one task queue."""

    def __init__(
        self, client: Client, queue: str, schedules: Schedules, ask: Ask
    ) -> None:
        """``ask`` has Airflow's timetables answer."""
        self._client = client
        self._queue = queue
        self._schedules = schedules
        self._proofs = Proofs(client, ask)
        self._made: dict[str, str] = {}
        """What each was made from, as far as we have looked."""
        self._carried: set[str] = set()
        """Those that ring."""
        self._told: set[str] | None = None
        self._is_allowed = True

    async def agree(self) -> bool:
        """Make page and scheduler agree; tell whether that has come to an end."""
        if not self._is_allowed:
            return True
        try:
            return await self._agree()
        except RPCError as err:
            if err.status not in _NOT_ALLOWED:
                raise
            self._is_allowed = False
            _LOG.warning(
                "the Temporal UI's page of schedules stays empty: %s. Use `appliance "
                "schedules`, which needs none",
                err.message,
            )
            return True

    async def _agree(self) -> bool:
        rows = {row.name: row for row in (await self._schedules.schedules()).rows}
        seen = await self._seen()
        for name in seen.keys() - rows.keys():
            await self._delete(name)
        different = [
            row
            for name, row in rows.items()
            if self._made.get(name) != _digest(row) or seen.get(name) != _is_paused(row)
        ]
        # Buttons first: they take no time, where a proof may take seconds.
        different.sort(key=lambda row: row.name not in self._made)
        deadline = time.monotonic() + _PASS_S
        while different and time.monotonic() < deadline:
            row = different.pop(0)
            await self._settle(row, is_new=row.name not in seen)
        self._carried &= rows.keys()
        if self._carried != self._told:
            await self._schedules.carry(sorted(self._carried))
            self._told = set(self._carried)
        return not different

    async def _seen(self) -> dict[str, bool]:
        """Return whether each Temporal Schedule of ours is paused."""
        prefix = self._id("")
        return {
            listed.id.removeprefix(prefix): listed.schedule.state.paused
            async for listed in await self._client.list_schedules()
            if listed.id.startswith(prefix) and listed.schedule is not None
        }

    async def _delete(self, name: str) -> None:
        self._made.pop(name, None)
        with _unless_gone():
            await self._handle(name).delete()

    async def _settle(self, row: ScheduleRow, *, is_new: bool) -> None:
        """Find out who has changed what, and tell the other side."""
        is_paused, note = _is_paused(row), None
        if is_new:
            await self._create(row)
        try:
            found = await self._handle(row.name).describe()
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return  # Somebody is deleting it; it is made again.
            raise
        last = await self._agreed(found)
        state = found.schedule.state
        if last.digest and state.paused != last.is_paused:
            is_paused, note = state.paused, state.note
            await self._schedules.steer("pause" if is_paused else "resume", [row.name])
        digest = _digest(row)
        if last.digest == digest:
            spec = found.schedule.spec
        else:
            spec = await self._proven(row)
        agreed = ScheduleAction(row.name, is_paused, digest)
        await self._update(row, spec, agreed, note=note)
        self._made[row.name] = digest
        (self._carried.add if _rings(spec) else self._carried.discard)(row.name)

    async def _create(self, row: ScheduleRow) -> None:
        made = self._schedule(row, ScheduleSpec(), _unfinished(row))
        with suppress(ScheduleAlreadyRunningError):  # Another worker has made it.
            await self._client.create_schedule(self._id(row.name), made)

    async def _proven(self, row: ScheduleRow) -> ScheduleSpec:
        """Return the times Temporal may be told, which are none if they would not be Airflow's."""
        spec = candidate(row)
        if spec is None:
            return ScheduleSpec()
        try:
            # Not to ring yet.
            await self._update(row, spec, _unfinished(row))
            is_equal = await self._proofs.are_equal(self._id(row.name), row)
        except RPCError as err:
            if err.status != RPCStatusCode.INVALID_ARGUMENT:
                raise
            is_equal = False  # Temporal does not know such a cron.
        return spec if is_equal else ScheduleSpec()

    async def _update(
        self,
        row: ScheduleRow,
        spec: ScheduleSpec,
        agreed: ScheduleAction,
        *,
        note: str | None = None,
    ) -> None:
        made = self._schedule(row, spec, agreed)
        made.state.note = note or made.state.note

        def update(_found: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(made)

        with _unless_gone():
            await self._handle(row.name).update(update)

    def _schedule(
        self, row: ScheduleRow, spec: ScheduleSpec, agreed: ScheduleAction
    ) -> Schedule:
        action = ScheduleActionStartWorkflow(
            orders.ACTION_WORKFLOW,
            agreed,
            id=self._id(row.name),
            task_queue=self._queue,
            static_summary=shortened(f"{row.dag_id} · {row.schedule}"),
        )
        state = ScheduleState(note=_note(row, spec), paused=agreed.is_paused)
        return Schedule(action=action, spec=spec, policy=_POLICY, state=state)

    async def _agreed(self, found: ScheduleDescription) -> ScheduleAction:
        action = found.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow):
            raise TypeError("there is no other action")
        converter = self._client.data_converter
        decoded = await converter.decode(action.args, [ScheduleAction])
        agreed: ScheduleAction = decoded[0]
        return agreed

    def _handle(self, name: str) -> ScheduleHandle:
        return self._client.get_schedule_handle(self._id(name))

    def _id(self, name: str) -> str:
        return f"airflow-schedule-{self._queue}-{name}"


def _unfinished(row: ScheduleRow) -> ScheduleAction:
    """Return what says that nobody has agreed on anything yet."""
    return ScheduleAction(row.name, is_paused=True)


def _note(row: ScheduleRow, spec: ScheduleSpec) -> str:
    """Say for people what the fields of a Temporal Schedule cannot."""
    lines = [f"{row.schedule}, of {row.source}."]
    if not _rings(spec):
        lines.append(
            f"Its times are Airflow's own: appliance schedules show {row.name}"
        )
    lines += [row.note] if row.note else []
    return "\n".join(lines)


def _rings(spec: ScheduleSpec) -> bool:
    # What is told as a cron comes back as a calendar.
    return bool(spec.cron_expressions or spec.calendars or spec.intervals)


def _is_paused(row: ScheduleRow) -> bool:
    return row.state == "paused"


def _digest(row: ScheduleRow) -> str:
    """Tell what a Temporal Schedule shows of a schedule apart."""
    times = (row.timetable, row.start_date, row.end_date)
    shown = (row.schedule, row.source, row.note, row.dag_id)
    text = json.dumps((times, shown), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Do not mind that somebody has deleted it; it is made again if it is wanted."""
    try:
        yield
    except RPCError as err:
        if err.status != RPCStatusCode.NOT_FOUND:
            raise
