"""Plays several runs with the pure entities, composed as the workflows compose them, in simulated time.

Messages take no time. Of those of one instant, what earlier runs owe arrives first, then wishes, then slots given
back, then ends of runs: what comes later in a real appliance is only later. Limits of tasks come before pools.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.active_runs.model import ActiveRuns
from appliance.dagrun.events import (
    AskSlots,
    Decision,
    Event,
    FinishRun,
    PastMet,
    ReturnSlots,
    SlotsAwaited,
    SlotsGranted,
    StartTask,
    StartWait,
    TimeReached,
    TryEnded,
    TryResumed,
    WaitUntil,
)
from appliance.dagrun.machine import DagRun
from appliance.dagrun.plan import Plan
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.states import RunState, TaskState
from appliance.past.model import PastTask, is_met
from appliance.pools.model import Pool, SlotLease
from appliance.pools.run_side import _Need, _needs
from appliance.temporal.messages import PoolFacts
from tests.parity.simulate import _STATES, label

Key = tuple[str, int]
States = dict[str, list[str | None]]


def play(
    case: Mapping[str, Any], plans: Sequence[Mapping[str, Any]], dates: Sequence[str]
) -> dict[str, Any]:
    """Play a case of ``crowds.py``.

    Args:
        case: The case.
        plans: Those of its DAGs.
        dates: The logical dates of its runs, in UTC.
    """
    crowd = _Crowd(case["pools"])
    for run, date in zip(case["runs"], dates, strict=True):
        one = _Run(
            run, Plan.from_json(plans[run["dag"]]), plans[run["dag"]], date, crowd
        )
        crowd.at(run["at"], "begin", one, date, None)
    return crowd.drive()


@dataclass(eq=False)
class _Run:
    """One run, as ``workflows/run.py`` drives it."""

    told: Mapping[str, Any]
    plan: Plan
    facts: Mapping[str, Any]
    date: str
    crowd: "_Crowd"
    machine: DagRun = field(init=False)
    needs: dict[str, tuple[_Need, ...]] = field(init=False)
    attempts: Counter[str] = field(default_factory=Counter)
    past: list[PastTask] = field(init=False)
    tries: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tasks = self.plan.tasks.values()
        known = self.crowd.facts
        self.needs = {
            task.task_id: needs
            for task in tasks
            if (needs := _needs(self.plan.dag_id, task, known))
        }
        groups = {
            task_id: ", ".join(need.pool for need in needs)
            for task_id, needs in self.needs.items()
        }
        self.machine = DagRun(replace(self.plan, lent=groups), logical_date=self.date)
        self.past = [
            PastTask(
                task.task_id,
                task.down if task.wait_for_downstream else (),
                task.ignore_first_depends_on_past,
            )
            for task in tasks
            if task.depends_on_past
        ]

    @property
    def run_id(self) -> str:
        return str(self.told["run_id"])

    @property
    def card(self) -> RunRecord:
        workflow_id = f"dag-{self.plan.dag_id}-{self.run_id}"
        kind = self.told["type"]
        return RunRecord(self.run_id, workflow_id, kind, self.date, self.date)

    @property
    def is_running(self) -> bool:
        return self.machine.state is RunState.RUNNING

    def begin(self) -> None:
        self.crowd.write("run", self.run_id, "running")
        self.obey(self.machine.start(self.crowd.now))

    def receive(self, events: Sequence[Event]) -> None:
        self.obey(self.machine.receive(events, self.crowd.now))

    def obey(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case StartTask():
                    self._start(decision)
                case AskSlots():
                    self.crowd.slots.ask(self, decision)
                case ReturnSlots():
                    self.crowd.slots.give_back(self, decision)
                case WaitUntil(at):
                    self.crowd.at(at, "wake", self, "", TimeReached())
                case StartWait(task_id, map_index):
                    resumed = TryResumed(task_id, map_index)
                    at = self.crowd.now + self._action(decision).get("delay", 10)
                    name = label((task_id, map_index))
                    self.crowd.at(at, "trigger", self, name, resumed)
                case FinishRun():
                    self.crowd.write("run", self.run_id, decision.state)
                    self.crowd.slots.end(self)
                    self.crowd.ended.append((self, decision))
                case _:
                    pass

    def _start(self, start: StartTask) -> None:
        name = label((start.task_id, start.map_index))
        self.attempts[name] += 1
        self.crowd.write("start", self.run_id, name, start.try_number)
        action = self._action(start)
        at = self.crowd.now + action.get("dur", 1)
        self.crowd.at(at, "finish", self, name, _end(start, action, at))

    def _action(self, of: StartTask | StartWait) -> Mapping[str, Any]:
        actions = self.told["script"].get(of.task_id) or [{}]
        attempt = self.attempts[label((of.task_id, of.map_index))]
        found: Mapping[str, Any] = actions[min(attempt, len(actions)) - 1]
        return found

    def states(self) -> States:
        states: States = {}
        if self.machine.state is not RunState.QUEUED:
            for task_id, _, state, _ in self.machine.rows():
                states.setdefault(task_id, []).append(state)
        return states


def _end(start: StartTask, action: Mapping[str, Any], at: float) -> TryEnded:
    do = action.get("do", "success")
    state = _STATES.get(do, TaskState.FAILED)
    if do == "fail" and start.try_number <= start.max_tries:
        state = TaskState.UP_FOR_RETRY
    again = round(at + action.get("delay", 10), 6)
    return TryEnded(
        start.task_id, start.map_index, start.try_number, state, reschedule_at=again
    )


@dataclass
class _Slots:
    """Wishes and leases, as ``workflows/slots.py`` and ``workflows/pool.py`` pass them on."""

    pools: dict[str, Pool] = field(default_factory=dict)
    wanting: dict[str, tuple[_Run, AskSlots, int]] = field(default_factory=dict)
    """Lease id -> who wants it, and which of its needs that is."""
    asks: list[tuple[_Run, AskSlots, int]] = field(default_factory=list)
    returns: list[tuple[str, str]] = field(default_factory=list)
    """Pool and lease id."""
    heard: list[tuple[_Run, SlotsGranted | SlotsAwaited]] = field(default_factory=list)

    def ask(self, run: _Run, decision: AskSlots, stage: int = 0) -> None:
        needs = run.needs[decision.task_id]
        if stage == len(needs):
            granted = SlotsGranted(decision.task_id, decision.map_index)
            self.heard.append((run, granted))
        else:
            self.asks.append((run, decision, stage))

    def give_back(self, run: _Run, decision: ReturnSlots) -> None:
        key = (decision.task_id, decision.map_index)
        self._withdraw(run, key)
        for need in run.needs[decision.task_id]:
            if decision.parked not in need.kept_in:
                self.returns.append((need.pool, _lease_id(run, need, key)))

    def end(self, run: _Run) -> None:
        for needs in run.needs.values():
            for need in needs:
                pool = self.pools.get(need.pool, Pool())
                leases = [*pool.held.values(), *pool.waiting.values()]
                its = [x.lease_id for x in leases if x.workflow_id == run.run_id]
                self.returns += [(need.pool, lease_id) for lease_id in its]

    def deliver(self) -> bool:
        """Deliver what comes next; tell whether there was anything."""
        if self.heard:
            self._tell_heard()
        elif not (self._deliver(is_pool=False) or self._deliver(is_pool=True)):
            return False
        return True

    def _tell_heard(self) -> None:
        heard, self.heard = self.heard, []
        for run in dict.fromkeys(run for run, _ in heard):
            run.receive([event for who, event in heard if who is run])

    def _deliver(self, *, is_pool: bool) -> bool:
        asks = [ask for ask in self.asks if _is_pool(_need(*ask).pool) is is_pool]
        returns = [one for one in self.returns if _is_pool(one[0]) is is_pool]
        if asks:
            self.asks = [ask for ask in self.asks if ask not in asks]
            self._want(asks)
        elif returns:
            self.returns = [one for one in self.returns if one not in returns]
            for name, lease_id in returns:
                if name in self.pools:
                    self.pools[name].give_back([lease_id])
            for name in dict.fromkeys(name for name, _ in returns):
                self._pass_on(self.pools.get(name, Pool()).lend())
        return bool(asks or returns)

    def _want(self, asks: list[tuple[_Run, AskSlots, int]]) -> None:
        touched: dict[str, Pool] = {}
        for run, decision, stage in asks:
            need = _need(run, decision, stage)
            key = (decision.task_id, decision.map_index)
            lease = SlotLease(
                lease_id=_lease_id(run, need, key),
                workflow_id=run.run_id,
                task_id=decision.task_id,
                map_index=decision.map_index,
                slots=need.slots,
                priority=decision.priority,
                logical_date=run.date,
                asks=decision.asks,
            )
            self.wanting[lease.lease_id] = (run, decision, stage)
            pool = self.pools.setdefault(need.pool, Pool())
            pool.want(lease, need.capacity)
            touched[need.pool] = pool
        for pool in touched.values():
            self._pass_on(pool.lend())
        for lease_id in list(self.wanting):
            run, decision, _ = self.wanting[lease_id]
            if any(decision is asked for _, asked, _ in asks):
                awaited = SlotsAwaited(decision.task_id, decision.map_index)
                self.heard.append((run, awaited))

    def _pass_on(self, lent: Iterable[SlotLease]) -> None:
        for lease in lent:
            if lease.lease_id in self.wanting:
                run, decision, stage = self.wanting.pop(lease.lease_id)
                self.ask(run, decision, stage + 1)

    def _withdraw(self, run: _Run, key: Key) -> None:
        self.asks = [
            ask for ask in self.asks if ask[0] is not run or _key(ask[1]) != key
        ]
        for lease_id, (who, decision, _) in list(self.wanting.items()):
            if who is run and _key(decision) == key:
                del self.wanting[lease_id]


def _key(decision: AskSlots) -> Key:
    return decision.task_id, decision.map_index


def _need(run: _Run, decision: AskSlots, stage: int) -> _Need:
    return run.needs[decision.task_id][stage]


def _is_pool(name: str) -> bool:
    return ": max_active_tis_per_dag" not in name


def _lease_id(run: _Run, need: _Need, key: Key) -> str:
    return f"{run.run_id}/{key[0]}/{key[1]} {need.pool}"


@dataclass
class _Crowd:
    pools: Mapping[str, Mapping[str, Any]]
    now: float = 0.0
    heap: list[tuple[float, str, str, str, int, _Run, Event | None]] = field(
        default_factory=list
    )
    pushed: int = 0
    events: list[list[Any]] = field(default_factory=list)
    rosters: dict[str, ActiveRuns] = field(default_factory=dict)
    runs: dict[str, _Run] = field(default_factory=dict)
    ended: list[tuple[_Run, FinishRun]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    slots: _Slots = field(default_factory=_Slots)

    @property
    def facts(self) -> dict[str, PoolFacts]:
        return {
            name: PoolFacts(pool["slots"], pool["include_deferred"])
            for name, pool in self.pools.items()
        }

    def at(
        self, when: float, kind: str, run: _Run, name: str, event: Event | None
    ) -> None:
        self.pushed += 1
        order = (name, run.run_id) if event is None else (run.run_id, name)
        row = (round(when, 6), kind, *order, self.pushed, run, event)
        heapq.heappush(self.heap, row)

    def write(self, *event: Any) -> None:
        self.events.append([self.now, *event])

    def drive(self) -> dict[str, Any]:
        while self.heap:
            self.now = self.heap[0][0]
            due: dict[_Run, list[Event]] = {}
            while self.heap and self.heap[0][0] == self.now:
                _, _, _, _, _, run, event = heapq.heappop(self.heap)
                if event is None:
                    self._announce(run)
                else:
                    due.setdefault(run, []).append(event)
            for run, events in due.items():
                run.receive(events)
            while self._meet_pasts() or self.slots.deliver() or self._close():
                pass
        return {
            "events": self.events,
            "runs": {run.run_id: run.machine.state for run in self.runs.values()},
            "tis": [
                [run.run_id, label((task_id, index)), state, tries]
                for run in self.runs.values()
                for task_id, index, state, tries in run.machine.rows()
            ],
            "reasons": self.reasons,
        }

    def _announce(self, run: _Run) -> None:
        self.runs[run.run_id] = run
        roster = self.rosters.setdefault(run.plan.dag_id, ActiveRuns())
        if roster.announce(run.card, run.facts["max_active_runs"]):
            run.begin()

    def _close(self) -> bool:
        ended, self.ended = self.ended, []
        for run, finish in ended:
            self.reasons[run.run_id] = finish.reason
            roster = self.rosters[run.plan.dag_id]
            roster.close(replace(run.card, state=finish.state), "")
            for card in roster.admit():
                self.runs[card.run_id].begin()
        return bool(ended)

    def _meet_pasts(self) -> bool:
        has_met = False
        for run in self.runs.values():
            if run.is_running and (met := self._met(run)):
                run.past = [task for task in run.past if task.task_id not in met]
                run.receive([PastMet(tuple(met))])
                has_met = True
        return has_met

    def _met(self, run: _Run) -> list[str]:
        """Decide as ``worker/clerk.py`` does."""
        if not run.past:
            return []
        roster = self.rosters[run.plan.dag_id]
        question = RunQuery(
            before=run.date, is_dated=True, no_manual=bool(run.facts.get("catchup"))
        )
        for last in roster.find(replace(question, most=1)):
            if last.state is RunState.QUEUED:
                return []
            everything = roster.find(replace(question, no_manual=False))
            older = [self.runs[card.run_id].states() for card in everything]
            previous = self.runs[last.run_id].states()
            return [
                task.task_id
                for task in run.past
                if is_met(task, last.logical_date, previous, older)
            ]
        return [task.task_id for task in run.past]
