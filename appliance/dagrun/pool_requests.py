"""Slot requests of one run: which scheduled task instances need slots of pools, and which have them.

No more is asked for than the run could use at once, and what comes when it has no room is given back, so that it
keeps nobody waiting for what it cannot run. Until a wish is answered the run keeps room for it.
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.dagrun.events import AskSlots, HoldSlots, ReturnSlots
from appliance.dagrun.states import PARKED, TaskState
from appliance.dagrun.task_instances import InstanceKey, TaskInstance

Rank = tuple[int, int, str]
"""Negative weight, map index, task id."""
Entry = tuple[Rank, TaskInstance]
"""An instance after what it is ordered by."""


@dataclass(slots=True)
class PoolRequests:
    """The leases of one run."""

    groups: Mapping[str, str]
    """Task id -> what it needs slots of, as one text; other tasks need none."""
    parked: dict[str, list[Entry]] = field(default_factory=dict)
    """By group: who may ask next."""
    asked: dict[InstanceKey, Entry] = field(default_factory=dict)
    """Who has asked, and has not begun."""
    ranks: dict[str, list[Rank]] = field(default_factory=dict)
    """By group: those of who has asked, best first."""
    own_ranks: dict[str, list[Rank]] = field(default_factory=dict)
    """The same by task id."""
    unanswered: dict[InstanceKey, None] = field(default_factory=dict)
    """Who may have slots at once; the others wait for them."""
    granted: dict[InstanceKey, None] = field(default_factory=dict)
    asks: Counter[InstanceKey] = field(default_factory=Counter)
    """How often each has asked."""
    said: list[AskSlots | HoldSlots | ReturnSlots] = field(default_factory=list)

    def lacks(self, instance: TaskInstance) -> bool:
        """Tell whether an instance needs slots it has not got."""
        return instance.task.task_id in self.groups and instance.key not in self.granted

    def ahead(self, entry: Entry) -> int:
        """Return how many better instances of its task have asked and not begun."""
        return bisect_left(self.own_ranks.get(entry[0][2], ()), entry[0])

    def ask(self, entry: Entry, room: int) -> None:
        """Let an instance ask, unless as many better ones of its group have asked as the run has room for."""
        rank, instance = entry
        key, group = instance.key, self.groups[instance.task.task_id]
        if key in self.asked:
            return
        ranks = self.ranks.setdefault(group, [])
        if bisect_left(ranks, rank) >= room:
            heapq.heappush(self.parked.setdefault(group, []), entry)
            return
        insort(ranks, rank)
        insort(self.own_ranks.setdefault(key[0], []), rank)
        self.asked[key] = entry
        self.unanswered[key] = None
        self.asks[key] += 1
        self.said.append(AskSlots(*key, priority=-rank[0], asks=self.asks[key]))

    def unpark(self, room: int) -> list[Entry]:
        """Return who may ask now."""
        found: list[Entry] = []
        for group, entries in list(self.parked.items()):
            ranks, more = self.ranks.get(group, []), 0
            while entries and bisect_left(ranks, entries[0][0]) + more < room:
                found.append(heapq.heappop(entries))
                more += 1
            if not entries:
                del self.parked[group]
        return found

    def wait(self, key: InstanceKey) -> None:
        """Take in that an instance has to wait for its slots."""
        self.unanswered.pop(key, None)

    def grant(self, key: InstanceKey) -> Entry | None:
        """Take in that an instance has its slots; return it if it still wants them."""
        self.unanswered.pop(key, None)
        entry = self.asked.get(key)
        if entry is not None and key not in self.granted:
            self.granted[key] = None
            return entry
        if entry is None and key not in self.granted:
            self.said.append(ReturnSlots(*key))
        return None

    def return_unused(self) -> None:
        """Give back what has come and cannot be used now; who had it asks again."""
        for key in [key for key in self.granted if key in self.asked]:
            self.refuse(key)

    def refuse(self, key: InstanceKey) -> None:
        """Give back what an instance has asked for or got."""
        if key in self.asked:
            self._withdraw(key)
            self.said.append(ReturnSlots(*key))

    def widen(
        self, groups: Mapping[str, str], running: Iterable[tuple[Rank, TaskInstance]]
    ) -> list[Entry]:
        """Take in that more is needed than before; return who has asked for less and has to ask again.

        Args:
            groups: As the attribute, from now on.
            running: Who has begun.
        """
        more = {
            task_id for task_id in groups if groups[task_id] != self.groups.get(task_id)
        }
        again = [entry for key, entry in self.asked.items() if key[0] in more]
        for _, instance in again:
            self.refuse(instance.key)
        for group in sorted(
            {self.groups[task_id] for task_id in more if task_id in self.groups}
        ):
            again += self.parked.pop(group, [])
        self.groups = groups
        for rank, instance in running:
            if instance.task.task_id in more:
                self.granted[instance.key] = None
                asks = self.asks[instance.key]
                self.said.append(HoldSlots(*instance.key, priority=-rank[0], asks=asks))
        return again

    def take_decisions(self) -> list[AskSlots | HoldSlots | ReturnSlots]:
        """Return what is to be asked and given back since the last call.

        Wishes come first, so that they compete for what is given back. Who asks anew gives up what it had thereby.
        """
        said, self.said = self.said, []
        asks = [one for one in said if not isinstance(one, ReturnSlots)]
        anew = {(one.task_id, one.map_index) for one in asks}
        returns = [
            one
            for one in said
            if isinstance(one, ReturnSlots) and (one.task_id, one.map_index) not in anew
        ]
        return [*asks, *returns]

    def moved(self, instance: TaskInstance, old: TaskState | None) -> None:
        """Give back what an instance no longer needs."""
        key, new = instance.key, instance.state
        if instance.task.task_id not in self.groups:
            return
        if new is TaskState.RUNNING:
            self._withdraw(key)
            self.granted[key] = None
        elif key in self.asked or key in self.granted:
            self._withdraw(key)
            parked = new if new in PARKED else None
            self.said.append(ReturnSlots(*key, parked=parked))
        elif old in PARKED:  # It competes again, or needs them no longer.
            self.said.append(ReturnSlots(*key))

    def _withdraw(self, key: InstanceKey) -> None:
        self.granted.pop(key, None)
        self.unanswered.pop(key, None)
        entry = self.asked.pop(key, None)
        if entry is not None:
            for ranks in (self.ranks[self.groups[key[0]]], self.own_ranks[key[0]]):
                del ranks[bisect_left(ranks, entry[0])]
