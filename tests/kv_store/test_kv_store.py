"""What tasks keep for others, on a real server: durable, the same everywhere, and small in history."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowUpdateInput,
    WorkflowUpdateHandle,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, Worker

from appliance.config.model import Config, Secrets, TemporalSettings
from appliance.errors import ConfigError, DagError
from appliance.kv_store import workflow as vault_module
from appliance.kv_store.client import KvStores
from appliance.kv_store.workflow import AirflowVault
from appliance.taskrun.kv_store import StoredText
from appliance.temporal.keyring import Keyring, ensure_key, rotate
from tests.temporal.servers import serving

pytestmark = [
    pytest.mark.needs_server,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

CANARY = "hunter2-canary"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    async with serving("history.transferProcessorMaxPollRPS=1000") as server:
        yield server


class Appliance:
    """One task queue with a worker on it, and a key file."""

    def __init__(self, client: Client, folder: Path, queue: str) -> None:
        self.client = client
        self.key_file = folder / "keys"
        self.queue = queue
        ensure_key(self.key_file)

    async def vaults(
        self, *, declared: tuple[str, ...] = (), key_file: Path | None = None
    ) -> KvStores:
        """Do what a worker does at its start."""
        vaults = KvStores(self.config(declared))
        await vaults.open(self.client, Keyring(key_file or self.key_file))
        return vaults

    def config(self, declared: tuple[str, ...]) -> Config:
        """Return a configuration that declares these Variables."""
        return Config(
            file=Path("a"),
            data=Path("b"),
            temporal=TemporalSettings(task_queue=self.queue),
            secrets=Secrets(variables=dict.fromkeys(declared, "declared")),
        )

    async def history(self) -> str:
        name = f"variables-{self.queue}"
        history = await self.client.get_workflow_handle(name).fetch_history()
        return history.to_json()


@pytest_asyncio.fixture(loop_scope="module")
async def appliance(
    client: Client, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Appliance]:
    queue = request.node.name
    async with Worker(client, task_queue=queue, workflows=[AirflowVault]):
        yield Appliance(client, tmp_path, queue)


async def test_what_one_worker_keeps_every_other_reads(appliance: Appliance) -> None:
    one, other = await appliance.vaults(), await appliance.vaults()
    assert await other.variables.get("a") is None

    await one.variables.put("a", "1")
    await one.variables.put("b", None)

    assert await other.variables.get("a") == StoredText("1")
    assert await other.variables.items() == {
        "a": StoredText("1"),
        "b": StoredText(None),
    }
    await other.variables.forget("a")
    await other.variables.forget("never there")
    assert await one.variables.get("a") is None


async def test_values_are_sealed_in_history_and_names_are_not(
    appliance: Appliance,
) -> None:
    vaults = await appliance.vaults()
    await vaults.variables.put("api_key", CANARY)
    history = await appliance.history()

    assert "api_key" in json.dumps(_decoded(history))
    assert CANARY not in json.dumps(_decoded(history))
    replayer = Replayer(workflows=[AirflowVault])
    name = f"variables-{appliance.queue}"
    handle = appliance.client.get_workflow_handle(name)
    await replayer.replay_workflow(await handle.fetch_history())


async def test_many_writes_at_once_are_all_kept_and_history_stays_short(
    appliance: Appliance,
) -> None:
    """More updates than a workflow takes at once, and more than fit into one history."""
    vaults = [await appliance.vaults() for _ in range(4)]
    name = f"variables-{appliance.queue}"
    handle = appliance.client.get_workflow_handle(name)
    await vaults[0].variables.put("first", "0")
    first = (await handle.describe()).run_id

    count = 0
    while (await handle.describe()).run_id == first:
        writes = (
            vault.variables.put(f"{count}-{number}-{of}", str(of))
            for of, vault in enumerate(vaults)
            for number in range(9)
        )
        await asyncio.gather(*writes)
        count += 1

    found = await vaults[0].variables.items()
    assert len(found) == 1 + count * 36
    assert (await handle.describe()).history_length < vault_module._MOST_EVENTS


async def test_what_was_terminated_is_still_read_and_started_again(
    appliance: Appliance,
) -> None:
    vaults = await appliance.vaults()
    handle = appliance.client.get_workflow_handle(f"variables-{appliance.queue}")
    await vaults.variables.put("a", "1")

    await handle.terminate()
    assert await vaults.variables.get("a") == StoredText("1")
    await vaults.variables.put("b", "2")
    assert await vaults.variables.items() == {
        "a": StoredText("1"),
        "b": StoredText("2"),
    }

    await handle.terminate()
    await appliance.vaults()
    seen = await handle.describe()
    assert seen.status is not None
    assert seen.status.name == "RUNNING"
    assert await vaults.variables.get("b") == StoredText("2")


async def test_what_is_declared_wins_when_the_configuration_is_read(
    appliance: Appliance,
) -> None:
    vaults = await appliance.vaults(declared=("a", "b"))
    for key in ("a", "other"):
        await vaults.variables.put(key, "written")
    await vaults.variables.put("b", None)
    assert await vaults.variables.get("a") == StoredText("written")

    await appliance.vaults(declared=("a", "b"))
    assert await vaults.variables.items() == {"other": StoredText("written")}

    vaults.reconfigure(appliance.config(("other",)))
    assert vaults._settling is not None
    await vaults._settling
    assert await vaults.variables.items() == {}


async def test_a_rotation_loses_nothing_and_seals_afresh(appliance: Appliance) -> None:
    vaults = await appliance.vaults()
    await vaults.variables.put("a", "1")
    old = appliance.key_file.read_text()

    rotate(appliance.key_file)
    assert await vaults.variables.get("a") == StoredText("1")
    await appliance.vaults()
    new = appliance.key_file.read_text().removesuffix(old)
    appliance.key_file.write_text(new)

    assert await vaults.variables.get("a") == StoredText("1")


async def test_a_worker_without_the_key_is_told_which_one(
    appliance: Appliance, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await (await appliance.vaults()).variables.put("a", "1")
    ensure_key(tmp_path / "other")
    rotate(tmp_path / "other")

    stranger = await appliance.vaults(key_file=tmp_path / "other")

    theirs = Keyring(appliance.key_file).fingerprint
    with pytest.raises(ConfigError, match=f"'a', kept by a task in .*{theirs}"):
        await stranger.variables.get("a")
    assert theirs in caplog.text


async def test_state_of_runs_and_assets_is_apart_and_expires(
    appliance: Appliance,
) -> None:
    vaults = await appliance.vaults()
    run, other = vaults.of_run("dag-a-1"), vaults.of_run("dag-a-2")
    asset = vaults.of_asset("s3://" + "long/" * 300)

    await run.put("k", "1", scope="t:-1")
    await run.put("k", "2", scope="u:-1")
    await run.put("old", "3", scope="t:-1", expires_at=time.time() - 1)
    await asset.put("k", "4")

    assert await run.get("k", scope="t:-1") == StoredText("1")
    assert await run.get("old", scope="t:-1") is None
    assert await other.get("k", scope="t:-1") is None
    assert await asset.get("k") == StoredText("4")
    await run.clear(scope="t:-1")
    assert await run.items(scope="t:-1") == {}
    assert await run.get("k", scope="u:-1") == StoredText("2")


async def test_what_there_is_no_room_for_is_refused_alone(appliance: Appliance) -> None:
    vaults = await appliance.vaults()
    big = "x" * 600_000
    await vaults.variables.put("a", big)

    ends = await asyncio.gather(
        vaults.variables.put("b", big),
        vaults.variables.put("c", "small"),
        vaults.variables.put("d", "x" * 2_000_000),
        return_exceptions=True,
    )

    assert [type(end) for end in ends] == [DagError, type(None), DagError]
    assert "no room for what a task wrote" in str(ends[0])
    await vaults.variables.put("a", "now small")
    await vaults.variables.put("b", big)
    assert await vaults.variables.get("c") == StoredText("small")


async def test_expired_state_makes_room(appliance: Appliance) -> None:
    vault = (await appliance.vaults()).of_run("dag-expiring-1")
    await vault.put("old", "x" * 700_000, expires_at=time.time() - 1)
    await vault.put("new", "x" * 700_000)
    await vault.put("old", "x" * 200_000, expires_at=time.time() - 1)
    with pytest.raises(DagError, match="no room"):
        await vault.put("large", "x" * 700_000)
    await vault.put("new, too", "x" * 200_000)
    assert (await vault.items()).keys() == {"new", "new, too"}


class LosesOneAnswer(Interceptor):
    """The network: the answer to one update is lost after ``meanwhile``."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self.meanwhile: Callable[[], Awaitable[None]] | None = meanwhile

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Losing(next, self)


class _Losing(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, once: LosesOneAnswer) -> None:
        super().__init__(next)
        self._once = once

    async def start_workflow_update(
        self, input: StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]:
        found = await super().start_workflow_update(input)
        meanwhile, self._once.meanwhile = self._once.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
            raise RPCError("its answer is lost", RPCStatusCode.UNAVAILABLE, b"")
        return found


@pytest.mark.parametrize("is_long", [False, True], ids=["short", "continued"])
async def test_a_write_whose_answer_was_lost_is_not_done_again(
    appliance: Appliance, *, is_long: bool
) -> None:
    """It would overwrite what another worker has written since, in the same workflow run or the next one."""
    asset = f"is {'long' if is_long else 'short'}"
    other = (await appliance.vaults()).of_asset(asset)
    await other.put("cursor", "0")
    name = f"asset-state-{asset}"
    handle = appliance.client.get_workflow_handle(name)
    first = (await handle.describe()).run_id

    async def meanwhile() -> None:
        await other.put("cursor", "2")
        while is_long and (await handle.describe()).run_id == first:
            await other.put("large", "x" * 1_000_000)

    settings = appliance.client.config()
    settings["interceptors"] = [LosesOneAnswer(meanwhile)]
    vaults = KvStores(appliance.config(()))
    await vaults.open(Client(**settings), Keyring(appliance.key_file))
    await vaults.of_asset(asset).put("cursor", "1")

    assert await other.get("cursor") == StoredText("2")


async def test_an_unused_vault_ends(client: Client) -> None:
    contents = vault_module.StoreContents(
        {"": {"a": vault_module.StoredItem("x")}}, idle_s=0.2
    )
    queue = "idle"
    async with Worker(client, task_queue=queue, workflows=[AirflowVault]):
        handle = await client.start_workflow(
            AirflowVault.run, contents, id="idle", task_queue=queue
        )
        await handle.result()
        assert (await handle.query(AirflowVault.contents)).items == {}


def _decoded(history: str) -> object:
    """Return the history with every payload in clear."""
    import base64

    def clear(value: object) -> object:
        if isinstance(value, dict):
            if isinstance(value.get("data"), str) and "metadata" in value:
                return base64.b64decode(value["data"]).decode()
            return {key: clear(item) for key, item in value.items()}
        return [clear(item) for item in value] if isinstance(value, list) else value

    return clear(json.loads(history))
