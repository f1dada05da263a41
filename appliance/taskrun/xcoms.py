"""Answers to a task's XCom requests: its input, what its run holds, and its own changes over both.

A value is JSON that Airflow's XCom backend made; it is never looked into here. Sequences are in
``map_index`` order, and only the XComs that exist count, as in Airflow.

Source: Airflow 3.3: ``api_fastapi/execution_api/routes/xcoms.py``.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from appliance.dagrun.attempt import ActivityTaskInput, XComRow
from appliance.dagrun.run_record import RunQuery
from appliance.forkserver.frames import Reply
from appliance.taskrun.protocols import OtherRun, RunView
from appliance.taskrun.responses import (
    DONE,
    Body,
    Handler,
    later_text,
    not_found,
    refusal,
    rejected,
    result,
)

RETURN_KEY = "return_value"
_SKIPMIXIN_KEY = "skipmixin_key"
MAX_MAP_LENGTH = 1024
"""Airflow's default of ``core.max_map_length``."""
FRESH_S = 2.0
"""How long an answer of the run is good for. A task that is still running may push meanwhile, and a try may
wait for that; but a loop over a thousand items must not ask a thousand times."""

_MOST_PRIOR = 100
"""Earlier runs that ``include_prior_dates`` looks at."""
SMALL_BYTES = 128
"""Values up to this size stay inline whatever the budget: a reference is no smaller."""
REFERENCE_BYTES = 1024
"""So do texts up to this size: a reference is a text, and may be what the value already is."""

Store = Callable[[XComRow], Awaitable[object]]
"""Put a value where Airflow's object storage backend finds it; return the reference to it."""

_Place = tuple[str, int, str]


class XComs:
    """The XComs of one try, and its answers about them."""

    def __init__(
        self,
        task: ActivityTaskInput,
        run: RunView,
        *,
        store: Store,
        clock: Callable[[], float],
        max_map_length: int = MAX_MAP_LENGTH,
    ) -> None:
        """Start from what ``task`` was sent. ``clock`` counts seconds from anywhere."""
        self._task = task
        self._run = run
        self._store = store
        self._clock = clock
        self._max_map_length = max_map_length
        self._complete = frozenset(task.complete)
        self._heard: dict[tuple[str, str], tuple[float, Sequence[XComRow]]] = {}
        self._pushed: dict[_Place, XComRow] = {}
        self._sizes: dict[_Place, int] = {}
        self._deleted: set[_Place] = set()
        self.return_length: int | None = None

    @property
    def pushed(self) -> tuple[XComRow, ...]:
        """What this try leaves behind: the last value of each key."""
        return tuple(self._pushed.values())

    @property
    def deleted(self) -> tuple[XComRow, ...]:
        """What this try deleted and did not push again."""
        return tuple(XComRow(*place) for place in sorted(self._deleted))

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        return {
            "GetXCom": self._get,
            "GetXComCount": self._count,
            "GetXComSequenceItem": self._item,
            "GetXComSequenceSlice": self._slice,
            "SetXCom": self._set,
            "DeleteXCom": self._delete,
        }

    async def _get(self, body: Body) -> Reply:
        place = self._place(body)
        if self._is_own(body) and place in self._pushed:
            return _value(place, self._pushed[place])
        async for rows in self._generations(body):
            for row in rows:
                if row.map_index == place[1]:
                    return _value(place, row)
        return _value(place, None)

    async def _count(self, body: Body) -> Reply:
        return result("XComCountResponse", len=len(await self._rows(body)))

    async def _item(self, body: Body) -> Reply:
        rows = await self._rows(body)
        try:
            return result("XComSequenceIndexResult", root=rows[body["offset"]].value)
        except IndexError:
            # The SDK's iterator ends its loop on this.
            named = ("dag_id", "run_id", "task_id", "key", "offset")
            return not_found("XCOM_NOT_FOUND", **{name: body[name] for name in named})

    async def _slice(self, body: Body) -> Reply:
        rows: list[XComRow] = []
        async for older in self._generations(body):
            rows = [*older, *rows]
        rows.sort(key=lambda row: row.map_index)
        chosen = rows[slice(body["start"], body["stop"], body["step"])]
        return result("XComSequenceSliceResult", root=[row.value for row in chosen])

    async def _set(self, body: Body) -> Reply:
        if refused := self._elsewhere(body):
            return refused
        length = body.get("mapped_length")
        if length is not None and length > self._max_map_length:
            return rejected(
                f"pushed value is too large to map as a downstream's dependency: "
                f"{length} items, core.max_map_length is {self._max_map_length}",
                reason="unmappable_return_value_length",
            )
        place = self._place(body)
        if not place[2]:
            return rejected("XCom key must be a non-empty string", reason="invalid_key")
        try:
            await self._keep(place, body["value"])
        except ValueError as error:
            return rejected(f"XCom {place[2]}: {error}", reason="invalid_format")
        if length is not None and place[:2] == self._own:
            self.return_length = length
        return DONE

    async def _delete(self, body: Body) -> Reply:
        if refused := self._elsewhere(body):
            return refused
        place = self._place(body)
        self._pushed.pop(place, None)
        self._sizes.pop(place, None)
        self._deleted.add(place)
        return DONE

    async def _keep(self, place: _Place, value: object) -> None:
        """Remember a value, or a reference to it where the run has no room for it."""
        row = XComRow(*place, value)
        size_bytes = _size_bytes(value)
        others = sum(self._sizes.values()) - self._sizes.get(place, 0)
        has_room = others + size_bytes <= self._task.xcom_budget_bytes
        least_bytes = REFERENCE_BYTES if isinstance(value, str) else SMALL_BYTES
        # The scheduler itself reads what a branch has decided.
        is_read = place[2] == _SKIPMIXIN_KEY
        if not has_room and size_bytes > least_bytes and not is_read:
            row = XComRow(*place, await self._store(row))
            size_bytes = _size_bytes(row.value)
        # Last pushed, last listed.
        self._pushed.pop(place, None)
        self._pushed[place] = row
        self._sizes[place] = size_bytes
        self._deleted.discard(place)

    async def _rows(self, body: Body) -> list[XComRow]:
        """Return one key of one task, in map_index order, as this try sees it."""
        if not self._is_own(body):
            question = RunQuery(run_ids=(body["run_id"],))
            for run in await self._run.others.find(body["dag_id"], question):
                return await _rows_of(run, body)
            return []
        task_id, key = body["task_id"], body["key"]
        only = (*self._own, key)
        if (task_id, -1) == self._own and (
            only in self._pushed or only in self._deleted
        ):
            return [self._pushed[only]] if only in self._pushed else []
        rows = {row.map_index: row for row in await self._known(task_id, key)}
        for place in self._deleted:
            if (place[0], place[2]) == (task_id, key):
                rows.pop(place[1], None)
        for place, row in self._pushed.items():
            if (place[0], place[2]) == (task_id, key):
                rows[place[1]] = row
        return [rows[map_index] for map_index in sorted(rows)]

    async def _known(self, task_id: str, key: str) -> Sequence[XComRow]:
        if task_id in self._complete:
            return [
                row
                for row in self._task.xcoms
                if (row.task_id, row.key) == (task_id, key)
            ]
        heard = self._heard.get((task_id, key))
        if heard is None or self._clock() - heard[0] > FRESH_S:
            rows = await self._run.xcoms([task_id], key=key)
            heard = (self._clock(), rows)
            self._heard[task_id, key] = heard
        return heard[1]

    async def _generations(self, body: Body) -> AsyncIterator[list[XComRow]]:
        """Yield the rows of the run in question, then of earlier ones if they are asked for, newest first."""
        yield await self._rows(body)
        if not body.get("include_prior_dates"):
            return
        dag_id, run_id = body["dag_id"], body["run_id"]
        until = await self._date(dag_id, run_id)
        if until is None:
            return
        question = RunQuery(until=until, most=_MOST_PRIOR)
        for run in await self._run.others.find(dag_id, question):
            if run.card.run_id != run_id:
                yield await _rows_of(run, body)

    async def _date(self, dag_id: str, run_id: str) -> str | None:
        """Return the moment a run stands for; None when there is no such run."""
        own = self._task.run
        if (dag_id, run_id) == (own.dag_id, own.run_id):
            return own.logical_date or own.run_after
        question = RunQuery(run_ids=(run_id,))
        for run in await self._run.others.find(dag_id, question):
            return run.card.logical_date or run.card.run_after
        return None

    def _elsewhere(self, body: Body) -> Reply | None:
        if self._is_own(body):
            return None
        return refusal(later_text("changing XComs of another DAG run is"))

    def _is_own(self, body: Body) -> bool:
        own = (self._task.run.dag_id, self._task.run.run_id)
        return (body["dag_id"], body["run_id"]) == own

    @property
    def _own(self) -> tuple[str, int]:
        return self._task.task_id, self._task.map_index

    @staticmethod
    def _place(body: Body) -> _Place:
        map_index = body.get("map_index")
        if map_index is None or map_index < 0:
            map_index = -1
        return body["task_id"], map_index, body["key"]


def _value(place: _Place, row: XComRow | None) -> Reply:
    """Answer null for what is absent: ``xcom_pull`` then gives its default."""
    return result("XComResult", key=place[2], value=None if row is None else row.value)


async def _rows_of(run: OtherRun, body: Body) -> list[XComRow]:
    rows = await run.xcoms([body["task_id"]], key=body["key"])
    return sorted(rows, key=lambda row: row.map_index)


def _size_bytes(value: object) -> int:
    """Return the size as JSON. Raises: ValueError for NaN and infinity, which Airflow refuses too."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return len(text.encode())
