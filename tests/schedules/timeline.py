"""Drives a scheduler through simulated time, as the workflow does through real time."""

import heapq
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from appliance.dagrun.timing import ScheduleDeclaration, ScheduledRun
from appliance.schedules.model import BATCH_RUNS, NextRunQuestion, Scheduler
from tests.parity.client import OracleClient

DAG_ID = "timed"
_KNOWN = {field.name for field in fields(ScheduleDeclaration)}


def declaration(timing: Mapping[str, Any], **more: Any) -> ScheduleDeclaration:
    """Return what the reconciler makes of a DAG's timing."""
    told = {key: value for key, value in timing.items() if key in _KNOWN}
    told |= {"is_paused": False, **more}
    return ScheduleDeclaration(
        name=DAG_ID, dag_id=DAG_ID, summary="", source="timed.py", **told
    )


def question_of(question: NextRunQuestion, now: float) -> dict[str, Any]:
    """Write a question as ``appliance.dagfile.timetables`` reads it."""
    told = question.declaration
    last = question.last
    return {
        "ask": "due",
        "timetable": told.timetable,
        "earliest": told.earliest,
        "latest": told.latest,
        "catchup": told.catchup,
        "last": {
            field.name: getattr(last, field.name) for field in fields(ScheduledRun)
        }
        if last
        else None,
        "now": datetime.fromtimestamp(now, UTC).isoformat(),
        "limit": BATCH_RUNS,
        "run_type": "scheduled",
    }


class Timeline:
    """One schedule from ``begin`` to ``end``; ``events`` are (time, down|up|pause|unpause)."""

    def __init__(
        self,
        oracle: OracleClient,
        told: ScheduleDeclaration,
        request: Mapping[str, Any],
    ) -> None:
        self.oracle = oracle
        self.scheduler = Scheduler()
        self.scheduler.declare([told])
        self.now = _seconds(request["begin"])
        self.end = _seconds(request["end"])
        self.run_s = request["run_s"]
        self.events = [(_seconds(time), what) for time, what in request["events"]]
        self.ends: list[tuple[float, str]] = []
        self.is_up = True
        self.made: list[dict[str, Any]] = []
        self.asked = 0

    def drive(self) -> list[dict[str, Any]]:
        """Return the runs it starts."""
        while True:
            if self.is_up:
                self._work()
            following = self._next_time()
            if following is None or following > self.end:
                return self.made
            self.now = max(self.now, following)
            self._pass_events()
            self._end_runs()

    def _work(self) -> None:
        while True:
            if questions := self.scheduler.questions(self.now):
                self._ask(questions)
            elif starts := self.scheduler.take_due(self.now):
                for start in starts:
                    self.made.append(_row(start.slot))
                    heapq.heappush(
                        self.ends, (self.now + self.run_s, start.slot.run_id)
                    )
            else:
                return

    def _ask(self, questions: list[NextRunQuestion]) -> None:
        self.asked += len(questions)
        asked = [question_of(question, self.now) for question in questions]
        answers = self.oracle.ask({"questions": asked})["answers"]
        for question, answer in zip(questions, answers, strict=True):
            slots = [ScheduledRun(**slot) for slot in answer.get("slots", ())]
            self.scheduler.record_answer(question, slots, answer.get("error"), self.now)

    def _next_time(self) -> float | None:
        times = [time for time, _ in self.events[:1]]
        if self.is_up:
            times += [time for time, _ in self.ends[:1]]
            wake = self.scheduler.wake_at(self.now)
            times += [] if wake is None else [wake]
        return min(times, default=None)

    def _pass_events(self) -> None:
        while self.events and self.events[0][0] <= self.now:
            _, what = self.events.pop(0)
            if what in ("down", "up"):
                self.is_up = what == "up"
                # Whatever was in memory is gone with the process.
                self.scheduler = Scheduler.from_json(self.scheduler.to_json())
            elif what == "pause":
                self.scheduler.pause(DAG_ID)
            else:
                self.scheduler.resume(DAG_ID)

    def _end_runs(self) -> None:
        while self.is_up and self.ends and self.ends[0][0] <= self.now:
            _, run_id = heapq.heappop(self.ends)
            self.scheduler.record_end(DAG_ID, run_id, is_success=True)


def _row(slot: ScheduledRun) -> dict[str, Any]:
    return {
        "run_id": slot.run_id,
        "run_type": "scheduled",
        "run_after": slot.run_after,
        "logical_date": slot.start,
        "start": slot.start,
        "end": slot.end,
        "partition_key": slot.partition_key,
    }


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
