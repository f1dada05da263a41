"""What became of every try of a run, from three sources that have to agree.

The history of the run says what each try ended as, the counters say what the tasks did, and the log of kills says what
can have happened to them.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

Instance = tuple[str, int]
"""Task id and map index."""

SLACK_S = 5.0
"""A try is told to the history a little later than it began, a loss is told by the worker that comes next."""
RUN_ENDS_S = 150.0
"""Two leases and what a slow machine adds."""
MAX_LOST = 3
ENDS_TRIES = {"task", "dag zygote", "zygote"}
"""What fails a try when it is killed."""
LOSES_TRIES = {"worker", "box"}
"""What loses a try when it is killed."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Something that was killed, and when (seconds since the epoch)."""

    what: str
    at: float


@dataclass(slots=True)
class Try:
    """One try as the history has it."""

    number: int
    max_tries: int
    began: float
    ended: float = 0.0
    state: str = "unknown"
    """How it ended: a state of Airflow's, or ``lost``."""
    why: str = ""


@dataclass(slots=True)
class Account:
    """One run."""

    dag_id: str
    run_id: str
    state: str
    rows: dict[Instance, tuple[str, int]]
    """State and try number at the end, as the run reported them."""
    tries: dict[Instance, list[Try]] = field(default_factory=dict)

    def complaints(
        self, counters: Iterable[list[str]], kills: Iterable[Kill]
    ) -> list[str]:
        """Say what is not as it has to be; nothing, if all is well."""
        found = []
        begun, done = self._counted(counters)
        for instance, tries in self.tries.items():
            found += [
                f"{instance}: {complaint}"
                for complaint in _succession(tries, self.rows[instance], list(kills))
            ]
            for one in tries:
                key = (instance, one.number)
                counted = begun.pop(key, 0), done[key]
                if one.state == "success" and counted != (1, 1):
                    found.append(f"{instance}: succeeded, but counted {counted}: {one}")
                if counted[0] > 1:
                    found.append(f"{instance}: ran {counted[0]} times: {one}")
        found += [f"{key} ran, but the history does not know it" for key in begun]
        found += self._whole()
        return [f"{self.dag_id} {self.run_id}: {complaint}" for complaint in found]

    def _counted(
        self, counters: Iterable[list[str]]
    ) -> tuple[Counter[tuple[Instance, int]], Counter[tuple[Instance, int]]]:
        begun: Counter[tuple[Instance, int]] = Counter()
        done: Counter[tuple[Instance, int]] = Counter()
        for what, dag_id, run_id, task_id, index, number, _pid in counters:
            if (dag_id, run_id) == (self.dag_id, self.run_id):
                counted = begun if what == "begun" else done
                counted[(task_id, int(index)), int(number)] += 1
        return begun, done

    def _whole(self) -> list[str]:
        """Check that the run ended as its tasks say."""
        states = Counter(state for state, _ in self.rows.values())
        has_failed = states["failed"] + states["upstream_failed"] > 0
        expected = "failed" if has_failed else "success"
        if self.state != expected:
            return [f"is {self.state}, but its tasks are {dict(states)}"]
        if not has_failed and states["success"] != 5:
            return [f"is {self.state} with {dict(states)}"]
        return []


def _succession(
    tries: list[Try], last: tuple[str, int], kills: list[Kill]
) -> Iterable[str]:
    """Check that each try follows from the one before, and that every end is explained."""
    numbers = [one.number for one in tries]
    if numbers != [*range(1, len(tries) + 1)]:
        yield f"tries are numbered {numbers}"
    lost = 0
    for one, following in pairwise([*tries, None]):
        assert one is not None
        lost += one.state == "lost"
        is_owed = one.state == "lost" and lost <= MAX_LOST
        is_retried = one.state in ("lost", "up_for_retry", "failed") and (
            one.number <= one.max_tries
        )
        if (following is not None) != (is_owed or is_retried):
            yield f"{one} is followed by {following}"
        if one.state == "lost" and not _explains(LOSES_TRIES, one, kills):
            yield f"nothing explains the loss of {one}"
        if one.state in ("failed", "up_for_retry") and not _explains(
            ENDS_TRIES, one, kills
        ):
            yield f"nothing explains the failure of {one}"
    state = "failed" if tries[-1].state == "lost" else tries[-1].state
    if last != (state, tries[-1].number):
        yield f"the report says {last}, the last try is {tries[-1]}"


def _explains(what: set[str], one: Try, kills: list[Kill]) -> bool:
    return any(
        kill.what in what and one.began - SLACK_S <= kill.at <= one.ended + SLACK_S
        for kill in kills
    )


async def complaints(
    client: Client, runs: Iterable[tuple[str, str]], folder: Path, kills: list[Kill]
) -> list[str]:
    """Wait for the end of these runs and return all that is wrong with them, given the counters in ``folder``."""
    found: list[str] = []
    for dag_id, run_id in runs:
        handle = client.get_workflow_handle(f"dag-{dag_id}-{run_id}")
        try:
            with suppress(WorkflowFailureError):
                await asyncio.wait_for(handle.result(), RUN_ENDS_S)
        except TimeoutError:
            found.append(f"{dag_id} {run_id}: does not end")
            continue
        account = await _account(handle, dag_id, run_id)
        found += account.complaints(counters(folder), kills)
    return found


async def _account(
    handle: WorkflowHandle[Any, Any], dag_id: str, run_id: str
) -> Account:
    """Read a run that has ended."""
    book = _Book()
    async for event in handle.fetch_history_events():
        book.enter(event)
    rows = {
        (row["task_id"], row["map_index"]): (row["state"], row["try_number"])
        for row in book.result["tasks"]
    }
    tries: dict[Instance, list[Try]] = defaultdict(list)
    for instance, one in book.tries.values():
        tries[instance].append(one)
    return Account(dag_id, run_id, book.result["state"], rows, dict(tries))


@dataclass(slots=True)
class _Book:
    """A history, read event by event."""

    result: dict[str, Any] = field(default_factory=dict)
    tries: dict[str, tuple[Instance, Try]] = field(default_factory=dict)
    """By ``ti_id``."""
    scheduled: dict[int, str] = field(default_factory=dict)
    """Event id of an activity -> ``ti_id``."""

    def enter(self, event: HistoryEvent) -> None:
        """Take in an event; most say nothing of tries."""
        at = event.event_time.ToNanoseconds() / 1e9
        if event.HasField("activity_task_scheduled_event_attributes"):
            given = _json(event.activity_task_scheduled_event_attributes.input)
            self.scheduled[event.event_id] = given["ti_id"]
            one = Try(given["try_number"], given["max_tries"], at)
            instance = (given["task_id"], given["map_index"])
            self.tries.setdefault(given["ti_id"], (instance, one))
        elif event.HasField("activity_task_completed_event_attributes"):
            done = event.activity_task_completed_event_attributes
            self._end(done.scheduled_event_id, at, _json(done.result)["state"], "")
        elif event.HasField("activity_task_failed_event_attributes"):
            failed = event.activity_task_failed_event_attributes
            self._end(failed.scheduled_event_id, at, *_failure(failed.failure))
        elif event.HasField("activity_task_timed_out_event_attributes"):
            late = event.activity_task_timed_out_event_attributes
            self._end(late.scheduled_event_id, at, "lost", late.failure.message)
        else:
            self._enter_end(event)

    def _enter_end(self, event: HistoryEvent) -> None:
        if event.HasField("workflow_execution_completed_event_attributes"):
            ended = event.workflow_execution_completed_event_attributes
            self.result = _json(ended.result)
        elif event.HasField("workflow_execution_failed_event_attributes"):
            failure = event.workflow_execution_failed_event_attributes.failure
            self.result = _json(failure.application_failure_info.details)

    def _end(self, scheduled: int, at: float, state: str, why: str) -> None:
        if ti_id := self.scheduled.get(scheduled):
            one = self.tries[ti_id][1]
            one.ended, one.state, one.why = at, state, why


def _json(payloads: Payloads) -> Any:
    return json.loads(payloads.payloads[0].data)


def _failure(failure: Any) -> tuple[str, str]:
    kind = failure.application_failure_info.type
    if kind == "AirflowTaskLost":
        return "lost", failure.message
    if kind != "AirflowTaskFailed":
        return kind or "unknown", failure.message
    return _json(failure.application_failure_info.details)["state"], failure.message


def counters(folder: Path) -> list[list[str]]:
    """Return what the tasks wrote, a list of words a line."""
    file = folder / "counters"
    return [line.split() for line in file.read_text().splitlines()]
