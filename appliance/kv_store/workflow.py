"""``AirflowVault``, one workflow per store: keeps sealed texts that tasks write for others.

A vault holds sealed texts under names in clear; only workers open them. It is started by the first write. A write is
an update, so whoever made it knows that it is in history when it returns; a read is a query, which sees every write that
has returned. Long histories are cut by continue-as-new. A vault that somebody terminated is read from its
history, and the next write starts another with what was in it.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from appliance.dagrun.state_version import refuse_newer
from appliance.temporal import input_checks

VAULT = "AirflowVault"
VAULT_FULL = "AirflowVaultFull"
"""Type of the error of a write there is no room for."""
MOST_BYTES = 1_500_000
"""Of one vault: all of it is the input of its next run, which the server takes up to 2 MB of."""
STATE_VERSION = 1
"""Of ``StoreContents``."""
_MOST_EVENTS = 1000
_MOST_HISTORY_BYTES = 4_000_000
_ROW_BYTES = 100
"""What JSON adds to an item."""
_MOST_DONE = 500
"""Writes that are known to be done. Who got no answer asks again for half a minute; at most 40 bytes each."""


class ChangeKind(StrEnum):
    """What a change does."""

    PUT = "put"
    FORGET = "forget"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class StoredItem:
    """What is under a key."""

    sealed: str | None
    """None: it was deleted."""
    expires_at: float | None = None
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class ItemAddress:
    """Where an item is."""

    scope: str
    key: str


@dataclass(frozen=True, slots=True)
class StoreChange:
    """One write."""

    kind: ChangeKind
    scope: str = ""
    key: str = ""
    item: StoredItem | None = None
    replaces: StoredItem | None = None
    """If set: change nothing unless this is what is there."""


@dataclass(frozen=True, slots=True)
class StoreContents:
    """All of a vault: what its next run starts with."""

    items: dict[str, dict[str, StoredItem]] = field(default_factory=dict)
    """Scope → key → item."""
    idle_s: float | None = None
    """It ends when nothing was written for so long; None: never."""
    written_at: float | None = None
    version: int = STATE_VERSION
    done: list[str] = field(default_factory=list)
    """The ids of the last writes: one that is asked for again, as its answer was lost, is not done again."""


@workflow.defn(name=VAULT, failure_exception_types=(TypeError,))
class AirflowVault:
    """Sealed texts by scope and key."""

    @workflow.init
    def __init__(self, contents: StoreContents) -> None:
        """Take over what an earlier run held."""
        refuse_newer({"version": contents.version}, STATE_VERSION, "a key-value store")
        input_checks.refuse(input_checks.of_times(contents.idle_s, contents.written_at))
        self._items = {scope: dict(found) for scope, found in contents.items.items()}
        self._idle_s = contents.idle_s
        self._written_at = contents.written_at or workflow.time()
        self._done = dict.fromkeys(contents.done)
        self._bytes = sum(
            _size(ItemAddress(scope, key), item)
            for scope, found in self._items.items()
            for key, item in found.items()
        )

    @workflow.run
    async def run(self, _contents: StoreContents) -> None:
        """Hold them."""
        while not self._is_idle():
            try:
                await workflow.wait_condition(_is_long, timeout=self._rest())
            except TimeoutError:
                continue
            await workflow.wait_condition(workflow.all_handlers_finished)
            self._forget_expired()
            workflow.continue_as_new(self.contents())
        self._items.clear()

    @workflow.update
    def write(self, changes: list[StoreChange]) -> None:
        """Apply changes in their order."""
        if self._is_done():
            return
        self._written_at = workflow.time()
        self._forget_expired()
        for change in changes:
            self._apply(change)

    @write.validator
    def _check_room(self, changes: list[StoreChange]) -> None:
        if self._is_done(look_only=True):
            return
        more = 0
        for change in changes:
            if change.item is not None:
                where = ItemAddress(change.scope, change.key)
                more += _size(where, change.item) - _size(where, self._at(where))
        if more <= 0 or self._bytes + more <= MOST_BYTES:
            return
        lasting = self._bytes - sum(_size(*one) for one in self._expired())
        if lasting + more > MOST_BYTES:
            raise ApplicationError(
                f"{lasting + more} bytes of at most {MOST_BYTES}", type=VAULT_FULL
            )

    @workflow.query
    def read(self, addresses: list[ItemAddress]) -> list[StoredItem | None]:
        """Return what is there, in the order asked."""
        return [self._at(where) for where in addresses]

    @workflow.query
    def contents(self) -> StoreContents:
        """Return everything."""
        return StoreContents(
            self._items, self._idle_s, self._written_at, done=list(self._done)
        )

    def _apply(self, change: StoreChange) -> None:
        where = ItemAddress(change.scope, change.key)
        if change.kind is ChangeKind.CLEAR:
            for key in list(self._items.get(change.scope, ())):
                self._put(replace(where, key=key), None)
        elif change.replaces in (None, self._at(where)):
            self._put(where, change.item)

    def _put(self, where: ItemAddress, item: StoredItem | None) -> None:
        self._bytes += _size(where, item) - _size(where, self._at(where))
        found = self._items.setdefault(where.scope, {})
        if item is None:
            found.pop(where.key, None)
        else:
            found[where.key] = item
        if not found:
            del self._items[where.scope]

    def _at(self, where: ItemAddress) -> StoredItem | None:
        return self._items.get(where.scope, {}).get(where.key)

    def _rest(self) -> timedelta | None:
        if self._idle_s is None:
            return None
        return timedelta(seconds=self._written_at + self._idle_s - workflow.time())

    def _is_idle(self) -> bool:
        rest = self._rest()
        return rest is not None and rest <= timedelta()

    def _is_done(self, *, look_only: bool = False) -> bool:
        """Tell whether the write that is asked for was done before; remember it."""
        info = workflow.current_update_info()
        assert info is not None  # noqa: S101  # only updates ask
        is_done = info.id in self._done
        if not (is_done or look_only):
            self._done[info.id] = None
            if len(self._done) > _MOST_DONE:
                del self._done[next(iter(self._done))]
        return is_done

    def _expired(self) -> list[tuple[ItemAddress, StoredItem]]:
        now = workflow.time()
        return [
            (ItemAddress(scope, key), item)
            for scope, found in self._items.items()
            for key, item in found.items()
            if item.expires_at is not None and item.expires_at <= now
        ]

    def _forget_expired(self) -> None:
        for where, _ in self._expired():
            self._put(where, None)


def _is_long() -> bool:
    info = workflow.info()
    return (
        info.is_continue_as_new_suggested()
        or info.get_current_history_length() > _MOST_EVENTS
        or info.get_current_history_size() > _MOST_HISTORY_BYTES
    )


def _size(where: ItemAddress, item: StoredItem | None) -> int:
    if item is None:
        return 0
    return len(where.scope) + len(where.key) + len(item.sealed or "") + _ROW_BYTES
