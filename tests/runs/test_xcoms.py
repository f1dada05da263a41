"""XComs are answered a slice at a time, fetched once."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from appliance.dagrun.attempt import XComRow
from appliance.runs.activities import XComActivities
from appliance.runs.messages import ResolveQuestion
from appliance.temporal.limits import PAYLOAD_BYTES, SLICE_CHARS

ROWS = [XComRow("a", -1, "k", "reference")]
OTHER = [XComRow("b", -1, "k", "reference")]
VALUE = '"' * SLICE_CHARS


class Backend:
    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, rows: Sequence[XComRow]) -> list[XComRow]:
        self.asked += 1
        return [replace(row, value=VALUE) for row in rows]


async def test_all_slices_together_are_the_answer() -> None:
    backend = Backend()
    activities = XComActivities(backend)

    text, length = "", 1
    while len(text) < length:
        answer = await activities.resolve_xcoms(ResolveQuestion(ROWS, len(text)))
        assert len(json.dumps(asdict(answer))) < PAYLOAD_BYTES
        text, length = text + answer.text, answer.length

    assert json.loads(text) == [asdict(replace(ROWS[0], value=VALUE))]
    assert backend.asked == 1


async def test_a_slice_is_of_what_was_asked() -> None:
    activities = XComActivities(Backend())

    await activities.resolve_xcoms(ResolveQuestion(ROWS))
    other = await activities.resolve_xcoms(ResolveQuestion(OTHER))
    again = await activities.resolve_xcoms(ResolveQuestion(ROWS, 2))

    assert other.text.startswith('[{"task_id": "b"')
    assert again.text.startswith('"task_id": "a"')
