"""Client of the key-value stores: seals what tasks write, opens what they read.

Variables that tasks write beat those of ``appliance.yaml`` until a worker reads that anew, at its start or because it was
changed: then a declared one wins, for every worker, and what was written over it is forgotten.
"""

import asyncio
import json
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from appliance.config.model import Config
from appliance.errors import ConfigError, DagError
from appliance.kv_store.workflow import (
    MOST_BYTES,
    AirflowVault,
    ChangeKind,
    ItemAddress,
    StoreChange,
    StoreContents,
    StoredItem,
)
from appliance.taskrun.kv_store import StoredText
from appliance.temporal import limits
from appliance.temporal.batching import Batching, each_once, patiently
from appliance.temporal.keyring import Keyring, key_of

_LOG = logging.getLogger(__name__)
_LONGEST_NAME = 180
_BATCH_BYTES = 1_000_000
_KEEP_VAULTS = 256
_LEAST_IDLE_S = 30 * 86400.0
"""Airflow's default of ``state_store.default_retention_days``."""


class KvStores:
    """Opens vaults; who asks before there is a server waits for it."""

    def __init__(self, config: Config) -> None:
        """Connect to nothing yet."""
        self._config = config
        self._queue = config.temporal.task_queue
        self._idle_s = max(config.temporal.retention_s, _LEAST_IDLE_S)
        self._link: asyncio.Future[tuple[Client, Keyring]] = (
            asyncio.get_running_loop().create_future()
        )
        self.variables = KvStore(self._link, f"variables-{self._queue}", self._queue)
        self._vaults: OrderedDict[str, KvStore] = OrderedDict()
        self._settling: asyncio.Task[None] | None = None

    async def open(self, client: Client, keys: Keyring) -> None:
        """Begin. Workers have to be polling."""
        self._link.set_result((client, keys))
        await self._settle()

    def reconfigure(self, config: Config) -> None:
        """Let what another configuration declares win from now on."""
        if config is not self._config:
            self._config = config
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        try:
            await self.variables.settle(self._config.secrets.variables)
        except (RPCError, ConfigError) as err:
            _LOG.warning("Variables that tasks have written: %s", err)

    def of_run(self, workflow_id: str) -> "KvStore":
        """Return the state of the tasks of one run."""
        return self._vault(f"state-{workflow_id}", self._idle_s)

    def of_asset(self, name: str) -> "KvStore":
        """Return the state of one asset."""
        return self._vault(f"asset-state-{_short(name)}", None)

    def _vault(self, name: str, idle_s: float | None) -> "KvStore":
        vault = self._vaults.get(name)
        if vault is None:
            vault = KvStore(self._link, name, self._queue, idle_s)
            self._vaults[name] = vault
            if len(self._vaults) > _KEEP_VAULTS:
                self._vaults.popitem(last=False)
        self._vaults.move_to_end(name)
        return vault


class KvStore:
    """One vault; it need not exist."""

    def __init__(
        self,
        link: asyncio.Future[tuple[Client, Keyring]],
        name: str,
        queue: str,
        idle_s: float | None = None,
    ) -> None:
        """Ask nothing yet; ``idle_s``: it ends when nothing was written for so long."""
        self._link = link
        self._name = name
        self._queue = queue
        self._idle_s = idle_s
        self._read = Batching(each_once(self._query))
        self._write = Batching(self._update)

    async def get(self, key: str, *, scope: str = "") -> StoredText | None:
        """As ``taskrun.vault.Vault.get``."""
        where = ItemAddress(scope, key)
        item = await self._read(where)
        return self._opened(where, item, await self._keys()) if item else None

    async def items(self, *, scope: str = "") -> dict[str, StoredText]:
        """As ``taskrun.vault.Vault.items``."""
        keys = await self._keys()
        contents = await self._contents() or StoreContents()
        found = contents.items.get(scope, {})
        opened = {
            key: self._opened(ItemAddress(scope, key), item, keys)
            for key, item in found.items()
        }
        return {key: kept for key, kept in opened.items() if kept is not None}

    async def put(
        self,
        key: str,
        value: str | None,
        *,
        scope: str = "",
        expires_at: float | None = None,
    ) -> None:
        """As ``taskrun.vault.Vault.put``."""
        where = ItemAddress(scope, key)
        keys = await self._keys()
        sealed = None if value is None else self._sealed(where, value, keys)
        item = StoredItem(sealed, expires_at)
        await self._change(StoreChange(ChangeKind.PUT, scope, key, item))

    async def forget(self, key: str, *, scope: str = "") -> None:
        """As ``taskrun.vault.Vault.forget``."""
        if await self._read(ItemAddress(scope, key)) is not None:
            await self._change(StoreChange(ChangeKind.FORGET, scope, key))

    async def clear(self, *, scope: str) -> None:
        """As ``taskrun.vault.Vault.clear``."""
        if await self._contents() is not None:
            await self._change(StoreChange(ChangeKind.CLEAR, scope))

    async def settle(self, declared: Collection[str]) -> None:
        """Forget what the configuration declares, seal the rest with the current key, start what was ended.

        Only what is there now: what a task writes meanwhile stays.
        """
        contents = await self._contents()
        if contents is None:
            return
        keys = await self._keys()
        changes = list(self._settling(contents, declared, keys))
        await asyncio.gather(*map(self._change, changes))
        if not changes and not await self._is_running():
            await self._update_once([], uuid.uuid4().hex)

    def _settling(
        self, contents: StoreContents, declared: Collection[str], keys: Keyring
    ) -> Iterator[StoreChange]:
        for key, item in contents.items.get("", {}).items():
            where = ItemAddress("", key)
            if key in declared:
                yield StoreChange(ChangeKind.FORGET, "", key, replaces=item)
            elif item.sealed and key_of(item.sealed) != keys.fingerprint:
                value = self._clear_text(where, item.sealed, keys)
                fresh = StoredItem(self._sealed(where, value, keys), item.expires_at)
                yield StoreChange(ChangeKind.PUT, "", key, fresh, replaces=item)

    # -- sealing ----------------------------------------------------------------

    def _opened(
        self, where: ItemAddress, item: StoredItem, keys: Keyring
    ) -> StoredText | None:
        if item.expires_at is not None and item.expires_at <= time.time():
            return None
        if item.sealed is None:
            return StoredText(None)
        return StoredText(self._clear_text(where, item.sealed, keys))

    def _clear_text(self, where: ItemAddress, sealed: str, keys: Keyring) -> str:
        what = f"{where.key!r}, kept by a task in {self._name}"
        return keys.open(sealed, place=self._place(where), what=what).decode()

    def _sealed(self, where: ItemAddress, value: str, keys: Keyring) -> str:
        return keys.seal(value.encode(), place=self._place(where))

    def _place(self, where: ItemAddress) -> str:
        return json.dumps([self._name, where.scope, where.key])

    # -- the workflow -----------------------------------------------------------

    async def _keys(self) -> Keyring:
        return (await asyncio.shield(self._link))[1]

    async def _client(self) -> Client:
        return (await asyncio.shield(self._link))[0]

    async def _query(self, addresses: list[ItemAddress]) -> list[StoredItem | None]:
        handle = (await self._client()).get_workflow_handle_for(
            AirflowVault.run, self._name
        )
        try:
            return await handle.query(AirflowVault.read, addresses)
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:
                raise
        return [None] * len(addresses)

    async def _contents(self) -> StoreContents | None:
        handle = (await self._client()).get_workflow_handle_for(
            AirflowVault.run, self._name
        )
        try:
            return await patiently(lambda: handle.query(AirflowVault.contents))
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:
                raise
        return None

    async def _is_running(self) -> bool:
        seen = await (await self._client()).get_workflow_handle(self._name).describe()
        return seen.status == WorkflowExecutionStatus.RUNNING

    async def _change(self, change: StoreChange) -> None:
        if _bytes(change) > MOST_BYTES:
            raise DagError(self._no_room(f"{_bytes(change)} bytes in {change.key!r}"))
        # Drawn once: a write whose answer was lost is asked for again by its number, and done once.
        if refusal := await self._write(_Write(uuid.uuid4().hex, change)):
            raise DagError(refusal)

    async def _update(self, writes: list["_Write"]) -> list[str | None]:
        """Make the changes, as few updates as their size allows; return what speaks against each."""
        refusals: list[str | None] = []
        for batch in limits.parts(writes, _BATCH_BYTES, size_of=_size):
            refusal = await self._try(batch)
            if refusal is None or len(batch) == 1:
                refusals += [refusal] * len(batch)
            else:
                refusals += [await self._try([write]) for write in batch]
        return refusals

    async def _try(self, writes: list["_Write"]) -> str | None:
        number = f"{writes[0].number}-{len(writes)}"
        try:
            await self._update_once([write.change for write in writes], number)
        except WorkflowUpdateFailedError as err:
            return self._no_room(str(err.cause))
        return None

    def _no_room(self, why: str) -> str:
        return (
            f"{self._name} has no room for what a task wrote ({why}). Keep large "
            "values elsewhere and only their place here, or delete some."
        )

    async def _update_once(self, changes: list[StoreChange], number: str) -> None:
        client = await self._client()
        handle = client.get_workflow_handle_for(AirflowVault.run, self._name)
        try:
            await handle.execute_update(AirflowVault.write, changes, id=number)
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:
                raise
        else:
            return
        earlier = await self._contents()
        contents = replace(
            earlier or StoreContents(), idle_s=self._idle_s, written_at=None
        )
        start = WithStartWorkflowOperation(
            AirflowVault.run,
            contents,
            id=self._name,
            task_queue=self._queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary="What tasks have written, sealed",
        )
        await client.execute_update_with_start_workflow(
            AirflowVault.write, changes, start_workflow_operation=start, id=number
        )


@dataclass(frozen=True, slots=True)
class _Write:
    """One change that is asked for, perhaps several times."""

    number: str
    change: StoreChange


def _size(write: _Write) -> int:
    return _bytes(write.change)


def _bytes(change: StoreChange) -> int:
    return len(change.item.sealed or "") if change.item else 0


def _short(name: str) -> str:
    """Return a name that fits into a workflow id."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return sha256(name.encode()).hexdigest()
