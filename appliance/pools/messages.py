"""Messages between runs and the workflows of pools, and the names of their signals, updates, queries and activities."""

from dataclasses import dataclass, field

from appliance.pools.model import SlotLease

POOL_WORKFLOW = "AirflowPool"
WANT_UPDATE = "want"
GIVE_BACK_SIGNAL = "give_back"
LENT_SIGNAL = "slots_lent"
SCARCE_SIGNAL = "pools_scarce"
HELD_QUERY = "held"
WANTED_QUERY = "slots_wanted"
WANT_SLOTS = "want_slots"
REMIND_POOLS = "remind_pools"
GIVE_BACK_SLOTS = "give_back_slots"
FIND_LOST_LEASES = "find_lost_leases"


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """A task instance wants slots of a pool, which has so many."""

    pool: str
    lease: SlotLease
    capacity: int
    is_in_force: bool = False
    """Whether that is so now; otherwise it was when the run began."""
    has_begun: bool = False
    """Whether the instance runs already, so that it has its slots, be there any or not."""


@dataclass(frozen=True, slots=True)
class SlotReturn:
    """Leases of one pool end; all of a run when ``workflow_id`` is set."""

    pool: str
    lease_ids: list[str] = field(default_factory=list)
    workflow_id: str | None = None


@dataclass(frozen=True, slots=True)
class PoolState:
    """What a pool's workflow carries on; ``packed`` None: it is new, and looks around first."""

    pool: str
    packed: str | None = None
