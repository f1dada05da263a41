"""Airflow's task and asset state stores, as long as nothing can be written to them: empty.

Source: Airflow 3.3: ``api_fastapi/execution_api/routes/{task,asset}_state_store.py``.
"""

from appliance.taskrun.shapes import OK, Body, Handler, later, not_found
from appliance.warm.frames import Reply


def handlers() -> dict[str, Handler]:
    """Return message type → handler."""
    table: dict[str, Handler] = {
        "GetTaskStateStore": _no_task_state,
        "SetTaskStateStore": later("writes to the task state store are"),
        "DeleteTaskStateStore": _nothing_to_do,
        "ClearTaskStateStore": _nothing_to_do,
    }
    for way in ("ByName", "ByUri"):
        table[f"GetAssetStateStore{way}"] = _no_asset_state
        table[f"SetAssetStateStore{way}"] = later("writes to the asset state store are")
        table[f"DeleteAssetStateStore{way}"] = _nothing_to_do
        table[f"ClearAssetStateStore{way}"] = _nothing_to_do
    return table


async def _no_task_state(body: Body) -> Reply:
    return not_found("TASK_STORE_NOT_FOUND", key=body["key"])


async def _no_asset_state(body: Body) -> Reply:
    return not_found("ASSET_STORE_NOT_FOUND", key=body["key"])


async def _nothing_to_do(_body: Body) -> Reply:
    return OK
