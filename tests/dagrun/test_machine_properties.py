"""What holds for any DAG and any order of events."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dagrun.events import (
    AskSlots,
    CancelRequested,
    Decision,
    Event,
    FinishRun,
    HoldSlots,
    PoolsScarce,
    ReturnSlots,
    SlotsAwaited,
    SlotsGranted,
    StartTask,
    StartWait,
    StopTask,
    TimeReached,
    TryEnded,
    TryLost,
    TryResumed,
    WaitEnded,
    WaitUntil,
)
from appliance.dagrun.machine import DagRun
from appliance.dagrun.plan import Plan, TaskSpec
from appliance.dagrun.rules import TriggerRule
from appliance.dagrun.states import FINISHED, RunState, TaskState

RULES = [str(rule) for rule in TriggerRule]
ENDS = st.sampled_from(
    [
        "success",
        "success",
        "success",
        "failed",
        "skipped",
        "up_for_retry",
        "up_for_reschedule",
        "deferred",
        "awaiting_input",
        "lost",
        "removed",
    ]
)
WAIT_ENDS = (TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED)
ALLOWS: dict[str, Callable[[Counter[Any], int], bool]] = {
    "all_success": lambda s, n: s["success"] + s["removed"] == n,
    "all_failed": lambda s, n: s["failed"] + s["upstream_failed"] + s["removed"] == n,
    "all_done": lambda s, n: _ended(s) == n,
    "all_done_min_one_success": lambda s, n: _ended(s) == n and s["success"] > 0,
    "all_done_setup_success": lambda s, n: _ended(s) == n,
    "one_success": lambda s, _: s["success"] > 0,
    "one_failed": lambda s, _: s["failed"] + s["upstream_failed"] > 0,
    "one_done": lambda s, _: s["success"] + s["failed"] > 0,
    "none_failed": lambda s, n: s["success"] + s["skipped"] + s["removed"] == n,
    "none_failed_min_one_success": lambda s, n: (
        s["success"] > 0 and s["success"] + s["skipped"] + s["removed"] == n
    ),
    "none_skipped": lambda s, n: _ended(s) == n and s["skipped"] == 0,
    "all_skipped": lambda s, n: s["skipped"] == n,
    "always": lambda _s, _n: True,
}
"""Rule -> whether these states of all upstream instances, as many as there are, let an instance run."""


def _ended(states: Counter[Any]) -> int:
    return sum(states[state] for state in FINISHED)


FINAL_STEP = 60
"""After so many events every try succeeds, so that a run of endless retries is no counter-example."""


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a DAG of up to 8 tasks with every feature the machine knows."""
    ids = [f"t{i}" for i in range(draw(st.integers(1, 8)))]
    tasks: dict[str, dict[str, Any]] = {}
    for n, task_id in enumerate(ids):
        row: dict[str, Any] = {
            "down": draw(
                st.lists(st.sampled_from(ids[n + 1 :]), unique=True, max_size=3)
            )
            if ids[n + 1 :]
            else [],
            "rule": draw(st.sampled_from(["all_success", *RULES])),
            "retries": draw(st.integers(0, 2)),
            "delay": draw(st.sampled_from([0.0, 10.0])),
        }
        flag = draw(
            st.sampled_from(
                ["", "", "setup", "teardown", "empty", "skipmixin", "deferred"]
            )
        )
        if flag:
            row[flag] = True
        sources = [1, 2, 0, *({"of": up} for up in ids[:n])]
        if draw(st.booleans()):
            row["map"] = [draw(st.sampled_from(sources))]
        if n and draw(st.booleans()):
            row["groups"] = ["g"]
        if draw(st.integers(0, 5)) == 0:
            row["max_run"] = 1
        tasks[task_id] = row
    return Plan.from_json(
        {
            "dag_id": "any",
            "tasks": tasks,
            "groups": {"g": {"map": [draw(st.sampled_from([2, {"of": "t0"}]))]}},
            "fail_fast": draw(st.booleans()),
            "max_active_tasks": draw(st.integers(1, 5)),
            "dagrun_timeout": draw(st.sampled_from([None, 25.0])),
        }
    )


@st.composite
def mapped_plans(draw: st.DrawFn) -> Plan:
    """Draw a small DAG most of which is mapped, grouped or below such tasks, and that nothing else disturbs."""
    ids = [f"t{i}" for i in range(draw(st.integers(3, 5)))]
    tasks: dict[str, dict[str, Any]] = {t: {"down": []} for t in ids}
    for n, task_id in enumerate(ids[1:], start=1):
        ups = st.lists(st.sampled_from(ids[:n]), unique=True, min_size=1, max_size=2)
        for up in draw(ups):
            tasks[up]["down"].append(task_id)
        tasks[task_id]["rule"] = draw(st.sampled_from(["all_success", *RULES]))
        if draw(st.booleans()):
            tasks[task_id]["groups"] = ["g"]
        if draw(st.booleans()):
            tasks[task_id]["map"] = [draw(st.sampled_from([2, 3, {"of": "t0"}]))]
    groups = {"g": {"map": [draw(st.sampled_from([2, 3, {"of": "t0"}]))]}}
    data = {"dag_id": "any", "max_active_tasks": 50, "tasks": tasks, "groups": groups}
    return Plan.from_json(data)


class Outside:
    """The world a run is driven by; every choice comes from ``data``, so it can be played again."""

    ends = ENDS
    is_cancelled_at_times = True

    def __init__(self, plan: Plan, data: st.DataObject) -> None:
        self.run = DagRun(plan, logical_date=None)
        self.plan = plan
        self.data = data
        self.now = 0.0
        self.running: dict[tuple[str, int], StartTask] = {}
        self.parked: dict[tuple[str, int], StartWait] = {}
        self.wakes: list[float] = []
        self.last: dict[tuple[str, int], tuple[int, int]] = {}
        """Instance -> try number and reschedules of its latest start."""
        self.begun: set[tuple[str, int]] = set()
        """Instances that have had a try."""
        self.resumed: set[tuple[str, int]] = set()
        self.finished: list[FinishRun] = []
        self.steps = 0
        self.heard: list[Decision] = []
        self.told: list[tuple[list[Event], float]] = []

    def play(self) -> None:
        self._obey(self.run.start(self.now))
        while not self.finished:
            events = self._next()
            assert events, f"nothing can happen any more: {self.run.rows()}"
            self.told.append((events, self.now))
            self._obey(self.run.receive(events, self.now))

    def _obey(self, decisions: list[Decision]) -> None:
        self.heard += decisions
        for decision in decisions:
            match decision:
                case StartTask():
                    self._start(decision)
                case StopTask(task_id, map_index):
                    # It may have ended of itself in the events just told.
                    self.running.pop((task_id, map_index), None)
                    self.parked.pop((task_id, map_index), None)
                case StartWait(task_id, map_index):
                    self.parked[task_id, map_index] = decision
                case WaitUntil(at):
                    assert at > self.now
                    self.wakes.append(at)
                case AskSlots() | HoldSlots() | ReturnSlots():
                    self._lend(decision)
                case FinishRun():
                    self.finished.append(decision)
        assert len(self.running) <= self.plan.max_active_tasks
        self._assert_rules_allow()

    def _lend(self, decision: AskSlots | HoldSlots | ReturnSlots) -> None:
        raise AssertionError("no task needs slots from outside the run")

    def _start(self, start: StartTask) -> None:
        key = (start.task_id, start.map_index)
        this = (start.try_number, start.reschedules)
        last, self.last[key] = self.last.get(key, (0, 0)), this
        assert key not in self.running
        assert this > last or key in self.resumed
        self.resumed.discard(key)
        self.running[key] = start

    def _assert_rules_allow(self) -> None:
        """Judge all whose first try has come, by the states of the instances above them."""
        rows = self.run.rows()
        begun = {(task_id, index) for task_id, index, _, tries in rows if tries}
        for task_id, index in sorted(begun - self.begun):
            above = self._above(task_id, index, rows)
            rule = str(self.plan.tasks[task_id].rule)
            is_allowed = not above or ALLOWS[rule](Counter(above), len(above))
            assert is_allowed, (task_id, index, above)
        self.begun |= begun

    def _above(
        self, task_id: str, index: int, rows: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        """Return the states of what one instance depends on; nothing where that cannot be told from outside.

        Those are all instances of each upstream; of one in the same mapped group only those of the same turn of
        the group. (An upstream mapped within the group is thought to be as often in a turn as the task itself.)
        """
        task = self.plan.tasks[task_id]
        width = self._width(task, rows)
        if not width:
            return []
        turn, found = index // width, []
        for up, i, state, _ in rows:
            upper = self.plan.tasks[up]
            if task_id not in upper.down:
                continue
            its_turn = i // width if upper.maps else i
            if i < 0 or its_turn == turn or not (task.groups and upper.groups):
                found.append(state)
        return found

    def _width(self, task: TaskSpec, rows: Sequence[tuple[Any, ...]]) -> int:
        """Return how many instances a task has in each turn of its group; 0 if nothing shows it."""
        if not task.groups or task.maps is None:
            return 1
        counts = Counter(self.plan.tasks[t] for t, i, _, _ in rows if i >= 0)
        (turns,) = self.plan.groups["g"]
        if not isinstance(turns, int):
            single = (n for t, n in counts.items() if t.groups and t.maps is None)
            turns = next(single, 0)
        return counts[task] // turns if turns else 0

    def _next(self) -> list[Event]:
        self.steps += 1
        choices: list[Any] = [*sorted(self.running)]
        choices += [("resume", key) for key in sorted(self.parked)]
        if self.wakes:
            choices.append(("wake", min(self.wakes)))
        if not choices:
            return []
        if self.steps > FINAL_STEP:
            return [self._happen(choices[0])]
        if self.is_cancelled_at_times and self.data.draw(st.integers(0, 60)) == 0:
            return [CancelRequested()]
        some = st.lists(st.sampled_from(choices), min_size=1, max_size=3, unique=True)
        return [self._happen(choice) for choice in self.data.draw(some)]

    def _happen(self, choice: tuple[Any, Any]) -> Event:
        match choice:
            case ("wake", float(at)):
                self.wakes.remove(at)
                self.now = max(self.now, at)
                return TimeReached()
            case ("resume", (task_id, map_index)):
                wait = self.parked.pop((task_id, map_index))
                if self.data.draw(st.booleans()):
                    state = self.data.draw(st.sampled_from(WAIT_ENDS))
                    end = TryEnded(task_id, map_index, wait.try_number, state)
                    return WaitEnded(end)
                self.resumed.add((task_id, map_index))
                return TryResumed(task_id, map_index)
            case _:
                return self._end(self.running.pop(choice))

    def _end(self, start: StartTask) -> Event:
        self.now += 1.0
        last = self.steps > FINAL_STEP
        end = "success" if last else self.data.draw(self.ends)
        if end == "lost":
            return TryLost(start.task_id, start.map_index, start.try_number)
        down = self.plan.tasks[start.task_id].down
        verdict = None
        if self.plan.tasks[start.task_id].can_skip_downstream and down:
            verdict = ("followed", down[:1])
        return TryEnded(
            start.task_id,
            start.map_index,
            start.try_number,
            TaskState(end),
            return_length=None if last else self.data.draw(st.integers(0, 3)),
            returned=True,
            reschedule_at=self.now + 5.0,
            is_watched=not last and self.data.draw(st.booleans()),
            skipped=tuple((task_id, -1) for task_id in down[1:]) if verdict else (),
            skip_verdict=verdict,
        )


@given(plans(), st.data())
@settings(max_examples=50, deadline=None)
def test_every_run_ends(plan: Plan, data: st.DataObject) -> None:
    world = Outside(plan, data)

    world.play()

    assert len(world.finished) == 1
    assert world.run.state in (RunState.SUCCESS, RunState.FAILED)
    assert not world.running
    if world.finished[0].reason != "all_tasks_deadlocked":
        left = [row for row in world.run.rows() if row[2] not in FINISHED]
        assert all(index > 0 for _, index, _, _ in left), "as in Airflow, see passes.py"


class Undisturbed(Outside):
    """The same with tasks that just end."""

    ends = st.sampled_from(["success", "success", "failed", "skipped"])
    is_cancelled_at_times = False


@given(mapped_plans(), st.data())
@settings(max_examples=80, deadline=None)
def test_no_mapped_task_starts_before_its_rule_allows(
    plan: Plan, data: st.DataObject
) -> None:
    world = Undisturbed(plan, data)

    world.play()

    assert len(world.finished) == 1


class Scarce(Outside):
    """The same, and some day its tasks need slots: who has begun holds one, or is sent back before it begins."""

    is_cancelled_at_times = False
    is_scarce = False

    def __init__(self, plan: Plan, data: st.DataObject) -> None:
        super().__init__(plan, data)
        self.asking: dict[tuple[str, int], bool] = {}
        """Who asks, and whether it has been told to wait."""
        self.held: set[tuple[str, int]] = set()

    def _lend(self, decision: AskSlots | HoldSlots | ReturnSlots) -> None:
        key = (decision.task_id, decision.map_index)
        self.asking.pop(key, None)
        self.held.discard(key)
        if isinstance(decision, AskSlots):
            self.asking[key] = False
        elif isinstance(decision, HoldSlots):
            assert key in self.running
            self.held.add(key)

    def _next(self) -> list[Event]:
        if self.is_scarce:
            assert self.running.keys() <= self.held
        if not self.is_scarce and self.data.draw(st.integers(0, 5)) == 0:
            self.is_scarce = True
            return [PoolsScarce(dict.fromkeys(self.plan.tasks, "p"), frozenset())]
        if self.asking and (self.steps > FINAL_STEP or self.data.draw(st.booleans())):
            key = min(self.asking)
            has_waited = self.asking[key]
            if not has_waited and self.data.draw(st.booleans()):
                self.asking[key] = True
                return [SlotsAwaited(*key)]
            del self.asking[key]
            self.held.add(key)
            return [SlotsGranted(*key)]
        return super()._next() or self._next()

    def _end(self, start: StartTask) -> Event:
        if (
            self.is_scarce
            and self.steps <= FINAL_STEP
            and self.data.draw(st.booleans())
        ):
            key = (start.task_id, start.map_index)
            self.resumed.add(key)
            return TryResumed(*key, has_begun=False)
        return super()._end(start)


@given(plans(), st.data())
@settings(max_examples=50, deadline=None)
def test_every_run_ends_whose_tasks_must_ask_for_slots_from_some_moment_on(
    plan: Plan, data: st.DataObject
) -> None:
    world = Scarce(plan, data)

    world.play()

    assert len(world.finished) == 1
    assert not world.running


class JumpingClock(Outside):
    """The same with a clock that somebody sets, forward and back, by more than any wait."""

    def _happen(self, choice: tuple[Any, Any]) -> Event:
        event = super()._happen(choice)
        if self.steps <= FINAL_STEP:
            self.now += self.data.draw(st.sampled_from([0.0, 0.0, 3600.0, -3600.0]))
        return event


@given(plans(), st.data())
@settings(max_examples=50, deadline=None)
def test_every_run_ends_whatever_its_clock_does(
    plan: Plan, data: st.DataObject
) -> None:
    world = JumpingClock(plan, data)

    world.play()

    assert len(world.finished) == 1
    assert not world.running


@given(plans(), st.data())
@settings(max_examples=20, deadline=None)
def test_the_same_events_give_the_same_decisions(
    plan: Plan, data: st.DataObject
) -> None:
    world = Outside(plan, data)
    world.play()

    again = DagRun(Plan.from_json(plan.to_json()), logical_date=None)
    decisions = again.start(0.0)
    for events, now in world.told:
        decisions += again.receive(events, now)

    assert decisions == world.heard
    assert again.rows() == world.run.rows()


@given(plans(), st.data())
@settings(max_examples=50, deadline=None)
def test_a_run_saved_and_restored_anywhere_goes_on_as_if_nothing_had_been(
    plan: Plan, data: st.DataObject
) -> None:
    world = Outside(plan, data)
    world.play()
    saved_before = data.draw(st.sets(st.integers(0, len(world.told))))

    again = DagRun(plan, logical_date=None)
    if 0 in saved_before:
        again = restored(again)
    decisions = again.start(0.0)
    for step, (events, now) in enumerate(world.told, start=1):
        if step in saved_before:
            again = restored(again)
        decisions += again.receive(events, now)

    assert decisions == world.heard
    assert again.rows() == world.run.rows()
    assert again.to_json() == world.run.to_json()


def restored(run: DagRun) -> DagRun:
    """Save a run and read it back, over the wire."""
    saved = json.loads(json.dumps(run.to_json()))
    again = DagRun.from_json(run.plan, saved)
    assert again.to_json() == run.to_json()
    assert again.rows() == run.rows()
    return again
