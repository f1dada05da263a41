"""Which scheduled instances of a run need slots from outside it (pools), and have them.

No more is asked for than the run could use at once, so that it keeps nobody waiting for what it cannot run.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.dagrun.events import AskSlots, ReturnSlots
from appliance.dagrun.instances import Instance, InstanceKey
from appliance.dagrun.states import FINISHED, PARKED, TaskState

Entry = tuple[tuple[int, int, str], Instance]
"""An instance after what it is ordered by: negative weight, map index, task id."""


@dataclass(slots=True)
class Leases:
    """The leases of one run."""

    groups: Mapping[str, str]
    """Task id -> what it needs slots of, as one text; other tasks need none."""
    parked: dict[str, list[Entry]] = field(default_factory=dict)
    """By group: who may ask next."""
    asked: dict[InstanceKey, Entry] = field(default_factory=dict)
    """Who has asked, and has not begun."""
    granted: dict[InstanceKey, None] = field(default_factory=dict)
    said: list[AskSlots | ReturnSlots] = field(default_factory=list)

    def lacks(self, instance: Instance) -> bool:
        """Tell whether an instance needs slots it has not got."""
        return instance.task.task_id in self.groups and instance.key not in self.granted

    def park(self, entry: Entry) -> None:
        """Let an instance ask when the run has room for it."""
        if entry[1].key not in self.asked:
            group = self.groups[entry[1].task.task_id]
            heapq.heappush(self.parked.setdefault(group, []), entry)

    def ask(self, room: int) -> None:
        """Ask for as many instances of each group as the run has room for."""
        if not self.parked:
            return
        asking = [self.groups[key[0]] for key in self.asked]
        for group, entries in list(self.parked.items()):
            left = room - asking.count(group)
            while entries and left > 0:
                entry = heapq.heappop(entries)
                instance = entry[1]
                if instance.state is TaskState.SCHEDULED:
                    left -= 1
                    self.asked[instance.key] = entry
                    self.said.append(AskSlots(*instance.key, priority=-entry[0][0]))
            if not entries:
                del self.parked[group]

    def grant(self, key: InstanceKey) -> Entry | None:
        """Take in that an instance has its slots; return it if it still wants them."""
        entry = self.asked.get(key)
        if entry is not None and key not in self.granted:
            self.granted[key] = None
            return entry
        if entry is None and key not in self.granted:
            self.said.append(ReturnSlots(*key))
        return None

    def told(self) -> list[AskSlots | ReturnSlots]:
        """Return what is to be asked and given back since the last call."""
        said, self.said = self.said, []
        return said

    def moved(self, instance: Instance, old: TaskState | None) -> None:
        """Give back what an instance no longer needs."""
        key, new = instance.key, instance.state
        if instance.task.task_id not in self.groups:
            return
        if new is TaskState.RUNNING:
            self.granted[key] = None
            self.asked.pop(key, None)
        elif key in self.asked or key in self.granted:
            self.asked.pop(key, None)
            self.granted.pop(key, None)
            is_deferred = new in PARKED
            self.said.append(ReturnSlots(*key, is_deferred=is_deferred))
        elif old in PARKED and new in FINISHED:
            self.said.append(ReturnSlots(*key))
