"""Lists the XComs of a run: from its last event once it has ended, by a query before."""

import json
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowHandle

from appliance.config.airflow_environment import may_refer_to_xcom
from appliance.config.model import Config
from appliance.dagrun.attempt import XComRow
from appliance.runs import ended_runs
from appliance.runs.messages import (
    XCOMS_QUERY,
    ResolveAnswer,
    ResolveQuestion,
    XComQuestion,
)
from appliance.temporal.limits import PAGE_ROWS
from appliance.worker_questions.client import Asker
from appliance.worker_questions.messages import RESOLVE_XCOMS


@dataclass(frozen=True, slots=True)
class XComs:
    """Reads those of any run."""

    config: Config
    asker: Asker

    async def of(self, handle: WorkflowHandle[Any, Any]) -> list[dict[str, Any]]:
        """Return every XCom as ``{task_id, map_index, key, value}``, references followed by a worker.

        Raises:
            RPCError: there is no such run, or nobody answers for it.
        """
        status = (await handle.describe()).status
        known = ended_runs.finale(await ended_runs.outcome(handle, status))
        rows = await _asked(handle) if known is None else list(known.xcoms)
        shown = [_shown(row) for row in rows]
        kept = [index for index, row in enumerate(rows) if self._may_refer(row)]
        for start in range(0, len(kept), PAGE_ROWS):
            page = kept[start : start + PAGE_ROWS]
            values = await self._resolved([rows[index] for index in page])
            for index, row in zip(page, values, strict=True):
                shown[index] = row
        return shown

    def _may_refer(self, row: XComRow) -> bool:
        value = row.value
        return isinstance(value, str) and may_refer_to_xcom(self.config, value)

    async def _resolved(self, rows: list[XComRow]) -> list[dict[str, Any]]:
        text, length = "", 1
        while len(text) < length:
            question = ResolveQuestion(rows, start=len(text))
            answer = await self.asker.ask(RESOLVE_XCOMS, question, ResolveAnswer)
            text, length = text + answer.text, answer.length
        found: list[dict[str, Any]] = json.loads(text)
        return found


async def _asked(handle: WorkflowHandle[Any, Any]) -> list[XComRow]:
    found: list[XComRow] = []
    while True:
        question = XComQuestion(start=len(found), limit=PAGE_ROWS)
        (page,) = await handle.query(XCOMS_QUERY, [question])
        found += [XComRow(**row) for row in page]
        if len(page) < PAGE_ROWS:
            return found


def _shown(row: XComRow) -> dict[str, Any]:
    return {
        "task_id": row.task_id,
        "map_index": row.map_index,
        "key": row.key,
        "value": row.value,
    }
