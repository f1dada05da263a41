"""Answers to requests of Airflow's task and asset state stores.

The state of a task belongs to its instance in the run and survives retries; that of an asset belongs to all runs. An asset is
known when the DAG's own file declares it.

Source: Airflow 3.3: ``api_fastapi/execution_api/routes/{task,asset}_state_store.py``, ``state/metastore.py``.
"""

import json
from collections.abc import Awaitable, Callable, Mapping

from appliance.dagrun.attempt import ActivityTaskInput
from appliance.forkserver.frames import Reply
from appliance.taskrun.assets import Assets
from appliance.taskrun.kv_store import KvStoreProtocol, KvStoresProtocol
from appliance.taskrun.responses import OK, Body, Handler, not_found, rejected, result

CLEAR_ON_SUCCESS = "AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS"
_WAYS = {"ByName": "name", "ByUri": "uri"}
_AssetHandler = Callable[[KvStoreProtocol, Body], Awaitable[Reply]]


class StateStores:
    """The answers about state."""

    def __init__(
        self,
        task: ActivityTaskInput,
        kv_stores: KvStoresProtocol,
        assets: Assets,
        airflow_env: Mapping[str, str],
    ) -> None:
        """Answer for the try ``task``; ``airflow_env`` may say that state goes with success."""
        self._task = task
        self._kv_stores = kv_stores
        self._assets = assets
        self._clears = airflow_env.get(CLEAR_ON_SUCCESS, "").lower() in ("true", "1")
        self._scope = f"{task.task_id}:{task.map_index}"

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        table: dict[str, Handler] = {
            "GetTaskStateStore": self._get,
            "SetTaskStateStore": self._set,
            "DeleteTaskStateStore": self._delete,
            "ClearTaskStateStore": self._clear,
        }
        for way, field in _WAYS.items():
            table[f"GetAssetStateStore{way}"] = self._of_asset(field, _get_of_asset)
            table[f"SetAssetStateStore{way}"] = self._of_asset(field, _set_of_asset)
            table[f"DeleteAssetStateStore{way}"] = self._of_asset(field, _delete)
            table[f"ClearAssetStateStore{way}"] = self._of_asset(field, _clear)
        return table

    async def succeeded(self) -> None:
        """Clear what the task kept, if Airflow is told to."""
        if self._clears:
            await self._clear({})

    async def _get(self, body: Body) -> Reply:
        kept = await self._vault.get(body["key"], scope=self._scope)
        if kept is None or kept.value is None:
            return not_found("TASK_STORE_NOT_FOUND", key=body["key"])
        return result("TaskStateStoreResult", value=json.loads(kept.value))

    async def _set(self, body: Body) -> Reply:
        expires = body.get("expires_at")
        await self._vault.put(
            body["key"],
            json.dumps(body["value"]),
            scope=self._scope,
            expires_at=expires.timestamp() if expires else None,
        )
        return OK

    async def _delete(self, body: Body) -> Reply:
        await self._vault.forget(body["key"], scope=self._scope)
        return OK

    async def _clear(self, _body: Body) -> Reply:
        await self._vault.clear(scope=self._scope)
        return OK

    @property
    def _vault(self) -> KvStoreProtocol:
        return self._kv_stores.of_run(self._task.run.workflow_id)

    def _of_asset(self, field: str, act: _AssetHandler) -> Handler:
        async def answer(body: Body) -> Reply:
            asset = self._assets.find(field, body[field])
            if asset is not None:
                return await act(self._kv_stores.of_asset(asset["name"]), body)
            if act is _get_of_asset:
                return not_found("ASSET_STORE_NOT_FOUND", key=body["key"])
            text = f"Asset with {field}={body[field]!r} not found"
            return rejected(text, status=404, reason="not_found")

        return answer


async def _get_of_asset(vault: KvStoreProtocol, body: Body) -> Reply:
    kept = await vault.get(body["key"])
    if kept is None or kept.value is None:
        return not_found("ASSET_STORE_NOT_FOUND", key=body["key"])
    return result("AssetStateStoreResult", value=json.loads(kept.value))


async def _set_of_asset(vault: KvStoreProtocol, body: Body) -> Reply:
    await vault.put(body["key"], json.dumps(body["value"]))
    return OK


async def _delete(vault: KvStoreProtocol, body: Body) -> Reply:
    await vault.forget(body["key"])
    return OK


async def _clear(vault: KvStoreProtocol, _body: Body) -> Reply:
    await vault.clear(scope="")
    return OK
