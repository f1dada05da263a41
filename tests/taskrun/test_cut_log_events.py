"""What can be read of an event that was cut off."""

import json
from typing import Any

import pytest

from appliance.taskrun.logs import read_cut_event


def cut(event: dict[str, Any], size_bytes: int) -> bytes:
    line = json.dumps(event, separators=(",", ":")).encode()
    return line[:size_bytes] + b" ... [%d bytes cut]" % (len(line) - size_bytes)


@pytest.mark.parametrize(
    "text",
    [
        "plain text " * 9,
        'quo"ted ' * 9,
        "back\\slash\n" * 9,
        "\udcff \u00e9" * 9,
        "{[" * 9,
    ],
)
def test_a_cut_text_is_read_as_far_as_it_goes(text: str) -> None:
    event = {"level": "error", "list": [{"a": 1}, 2], "event": text, "more": "gone"}
    whole = len(json.dumps(event, separators=(",", ":")))
    begin = 45

    for size_bytes in range(begin, whole - 20):
        found = read_cut_event(cut(event, size_bytes))
        assert found is not None
        assert found["level"] == "error"
        assert found["list"] == [{"a": 1}, 2]
        assert text.startswith(found["event"])
        assert found["bytes_cut"] == whole - size_bytes


def test_a_cut_exception_keeps_its_type_and_the_begin_of_its_message() -> None:
    raised = [{"exc_type": "ValueError", "exc_value": "m" * 99, "frames": []}]

    found = read_cut_event(cut({"event": "failed", "exception": raised}, 90))

    assert found is not None
    assert found["exception"][0]["exc_type"] == "ValueError"
    assert found["exception"][0]["exc_value"].startswith("mmm")


@pytest.mark.parametrize(
    "line",
    [
        b"no event",
        b'{"a": "b',
        b"text ... [5 bytes cut]",
        b'{"a": 1, ... [5 bytes cut]',
        b"} and more ... [5 bytes cut]",
        b'["an array ... [5 bytes cut]',
    ],
)
def test_what_is_no_stump_is_not_taken_for_one(line: bytes) -> None:
    assert read_cut_event(line) is None
