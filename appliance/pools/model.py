"""State of a pool workflow: leases held and leases waited for, in order of priority. Pure.

Whoever wants slots gets them or waits: higher priority first, then the earlier logical date, then the lower map
index, then by name. One that wants more than is left lets those behind it pass, as in Airflow. Saying anything twice does no harm.

Source: Airflow 3.3: ``SchedulerJobRunner._executable_task_instances_to_queued``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from appliance.dagrun.state_version import VERSION_KEY, refuse_newer

STATE_VERSION = 1
"""Of what ``to_json`` writes."""
MOST_WAITING = 5000
"""Who wants slots and is remembered. Who comes beyond them waits all the same, and asks again."""


@dataclass(frozen=True, slots=True)
class SlotLease:
    """What one task instance wants or has."""

    lease_id: str
    workflow_id: str
    """The run."""
    task_id: str
    map_index: int
    slots: int = 1
    priority: int = 1
    logical_date: str | None = None
    asks: int = 1
    """Who asks again after a wait competes again for what it has kept meanwhile."""


@dataclass(slots=True)
class Pool:
    """One pool."""

    capacity: int = 0
    held: dict[str, SlotLease] = field(default_factory=dict)
    waiting: dict[str, SlotLease] = field(default_factory=dict)
    """In the order they came."""

    def want(
        self,
        lease: SlotLease,
        capacity: int,
        *,
        is_in_force: bool = False,
        has_begun: bool = False,
    ) -> None:
        """Take in who wants slots.

        Args:
            lease: What it wants.
            capacity: How many slots there are, as it knows.
            is_in_force: Whether it knows that now; otherwise the last one to come knows best.
            has_begun: Whether it runs already, so that it has its slots, be there any or not.
        """
        held = self.held.get(lease.lease_id)
        if is_in_force or (held is None and lease.lease_id not in self.waiting):
            self.capacity = capacity
        if held is None or held.asks < lease.asks:
            self.held.pop(lease.lease_id, None)
            (self.held if has_begun else self.waiting)[lease.lease_id] = lease
        if len(self.waiting) > MOST_WAITING:
            del self.waiting[max(self.waiting.values(), key=_order).lease_id]

    def lighter(self) -> "Pool | None":
        """Return the same without half of those who would get slots last; None: nobody waits."""
        waiting = sorted(self.waiting.values(), key=_order)
        gone = {lease.lease_id for lease in waiting[len(waiting) // 2 :]}
        kept = {i: lease for i, lease in self.waiting.items() if i not in gone}
        return replace(self, waiting=kept) if gone else None

    def give_back(self, lease_ids: Iterable[str]) -> None:
        """Take back slots, or forget who wanted them."""
        for lease_id in lease_ids:
            self.held.pop(lease_id, None)
            self.waiting.pop(lease_id, None)

    def give_back_all(self, workflow_id: str) -> None:
        """Take back all that a run has or wants."""
        for leases in (self.held, self.waiting):
            gone = [
                i for i, lease in leases.items() if lease.workflow_id == workflow_id
            ]
            for lease_id in gone:
                del leases[lease_id]

    def lend(self) -> list[SlotLease]:
        """Lend what is left, and return who has got something."""
        left = self.capacity - sum(lease.slots for lease in self.held.values())
        lent: list[SlotLease] = []
        for lease in sorted(self.waiting.values(), key=_order):
            if lease.slots <= left:
                left -= lease.slots
                lent.append(lease)
                self.held[lease.lease_id] = self.waiting.pop(lease.lease_id)
        return lent

    def to_json(self) -> dict[str, Any]:
        """Write everything as plain JSON values."""
        return {VERSION_KEY: STATE_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Pool":
        """Read what ``to_json`` of this or an older version wrote.

        Raises:
            NewerStateError: a newer version wrote it.
        """
        refuse_newer(data, STATE_VERSION, "a pool")
        held, waiting = (
            {i: SlotLease(**row) for i, row in data.get(name, {}).items()}
            for name in ("held", "waiting")
        )
        return cls(data.get("capacity", 0), held, waiting)


def _order(lease: SlotLease) -> tuple[int, str, int, str, str]:
    date = lease.logical_date or ""
    return -lease.priority, date, lease.map_index, lease.task_id, lease.workflow_id
