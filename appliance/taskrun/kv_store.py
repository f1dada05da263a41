"""Protocol of the store for what tasks write: Variables, task state and asset state.

Durable when the call returns, and the same for every worker.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredText:
    """What is under a key. ``value`` None: it was deleted, whatever the configuration declares."""

    value: str | None


class KvStoreProtocol(Protocol):
    """Texts by key, within a scope.

    Every method raises ConfigError when the key to what is kept is missing here, and DagError when there is no room.
    """

    async def get(self, key: str, *, scope: str = "") -> StoredText | None:
        """Return what is under ``key``; None: nothing was ever written there, or it has expired."""
        ...

    async def items(self, *, scope: str = "") -> dict[str, StoredText]:
        """Return everything by key."""
        ...

    async def put(
        self,
        key: str,
        value: str | None,
        *,
        scope: str = "",
        expires_at: float | None = None,
    ) -> None:
        """Keep ``value`` until ``expires_at``, seconds since 1970; None as a value: note that it is deleted."""
        ...

    async def forget(self, key: str, *, scope: str = "") -> None:
        """Remove the key as if nothing had ever been written there."""
        ...

    async def clear(self, *, scope: str) -> None:
        """Forget every key of the scope."""
        ...


class KvStoresProtocol(Protocol):
    """The key-value stores of one appliance."""

    @property
    def variables(self) -> KvStoreProtocol:
        """Return the Variables that tasks have written."""
        ...

    def of_run(self, workflow_id: str) -> KvStoreProtocol:
        """Return the state of the tasks of one run; a scope is a task instance."""
        ...

    def of_asset(self, name: str) -> KvStoreProtocol:
        """Return the state of one asset."""
        ...
