"""How a question to people looks in the Temporal UI."""

import json
import shlex
from typing import Any

import pytest

from appliance.cli.hitl import respond
from appliance.runs.hitl import HitlQuestion, section
from appliance.runs.messages import Response

ANN = {"id": "7", "name": "ann"}


def shown(map_index: int = -1, **asked: Any) -> tuple[HitlQuestion, list[str]]:
    told = {"subject": "?", "options": ["yes, it's so", "no"], **asked}
    question = HitlQuestion("ask", map_index, told)
    return question, section("my dag", "run", [question]).splitlines()


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"map_index": 0},
        {"params": {"n": {"value": 3}, "why": 'it\'s ä "must"'}},
        {"assigned_users": [ANN, {"id": "8", "name": "bob"}]},
        {"multiple": True, "options": ["no"]},
    ],
)
def test_what_is_shown_is_an_answer_that_is_taken(asked: dict[str, Any]) -> None:
    question, lines = shown(**asked)
    (command,) = [line for line in lines if line.startswith("    appliance respond")]
    sent = Response(**json.loads(lines[-2]))

    assert question.objection(sent) is None
    words = shlex.split(command)
    parsed = respond.make_context("respond", words[2:]).params
    assert (parsed["dag_id"], parsed["run_id"], parsed["task_id"]) == (
        "my dag",
        "run",
        "ask",
    )
    assert parsed["map_index"] == sent.map_index == question.map_index
    assert parsed["chosen"] == tuple(sent.chosen_options)
    assert parsed["params"] == sent.params_input
    assert (parsed["user"] or "unknown") == sent.user_id


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, 'Choose one of "yes, it\'s so", "no":'),
        ({"multiple": True, "options": ["a", "b"]}, 'Choose one or more of "a", "b":'),
        ({"assigned_users": [ANN]}, 'Only "ann" (7) may answer:'),
    ],
)
def test_who_may_choose_what_is_said(asked: dict[str, Any], words: str) -> None:
    assert words in "\n".join(shown(**asked)[1])


@pytest.mark.parametrize(
    ("defaults", "words"), [(None, "or the task fails:"), (["no"], 'or it is "no":')]
)
def test_what_comes_of_no_answer_is_said(defaults: Any, words: str) -> None:
    question = HitlQuestion("ask", -1, {"options": ["no"], "defaults": defaults}, 0.0)

    text = section("d", "r", [question])

    assert f'Choose one of "no", by 1970-01-01T00:00:00+00:00, {words}' in text
