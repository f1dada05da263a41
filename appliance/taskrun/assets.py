"""Answers to a task's requests for assets: those that the DAG's own file declares.

Airflow knows those of every file, and those that events have made of an alias: what asks for the latter is refused
where it is answered (``replies``).

Source: Airflow 3.3: ``api_fastapi/execution_api/routes/assets.py``, ``sdk/api/client.py`` (AssetOperations).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.forkserver.frames import Reply
from appliance.taskrun.responses import Body, Handler, not_found, result

Asset = Mapping[str, Any]
"""Its ``name``, ``uri``, ``group`` and ``extra``."""


class Assets:
    """The answers about assets."""

    def __init__(self, declared: Sequence[Asset]) -> None:
        """Answer from ``declared``; the first of a name or URI counts."""
        self._declared = declared

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        return {"GetAssetByName": self._by_name, "GetAssetByUri": self._by_uri}

    def find(self, field: str, wanted: str) -> Asset | None:
        """Return the asset with that ``name`` or ``uri``."""
        return next((one for one in self._declared if one[field] == wanted), None)

    async def _by_name(self, body: Body) -> Reply:
        return self._answer("name", body["name"])

    async def _by_uri(self, body: Body) -> Reply:
        return self._answer("uri", body["uri"])

    def _answer(self, field: str, wanted: str) -> Reply:
        asset = self.find(field, wanted)
        if asset is None:
            return not_found("ASSET_NOT_FOUND", **{field: wanted})
        return result("AssetResult", **asset)
