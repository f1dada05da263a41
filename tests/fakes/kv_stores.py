"""Vaults in memory."""

from dataclasses import dataclass, field

from appliance.taskrun.kv_store import StoredText


@dataclass
class FakeVault:
    """Scope → key → what is there; nothing expires."""

    kept: dict[str, dict[str, StoredText]] = field(default_factory=dict)
    expiries: list[float | None] = field(default_factory=list)

    async def get(self, key: str, *, scope: str = "") -> StoredText | None:
        """Return what is under ``key``."""
        return self.kept.get(scope, {}).get(key)

    async def items(self, *, scope: str = "") -> dict[str, StoredText]:
        """Return everything by key."""
        return dict(self.kept.get(scope, {}))

    async def put(
        self,
        key: str,
        value: str | None,
        *,
        scope: str = "",
        expires_at: float | None = None,
    ) -> None:
        """Keep ``value``."""
        self.kept.setdefault(scope, {})[key] = StoredText(value)
        self.expiries.append(expires_at)

    async def forget(self, key: str, *, scope: str = "") -> None:
        """Remove the key."""
        self.kept.get(scope, {}).pop(key, None)

    async def clear(self, *, scope: str) -> None:
        """Forget every key of the scope."""
        self.kept.pop(scope, None)


@dataclass
class FakeVaults:
    """One vault for Variables, one a run, one an asset."""

    variables: FakeVault = field(default_factory=FakeVault)
    others: dict[str, FakeVault] = field(default_factory=dict)

    def of_run(self, workflow_id: str) -> FakeVault:
        """Return the state of the tasks of one run."""
        return self.others.setdefault(f"run {workflow_id}", FakeVault())

    def of_asset(self, name: str) -> FakeVault:
        """Return the state of one asset."""
        return self.others.setdefault(f"asset {name}", FakeVault())
