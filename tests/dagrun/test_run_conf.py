"""What a conf may hold."""

from typing import Any

import pytest

from appliance.dagrun.run_conf import MOST_DEPTH, objection


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"a": [1, 2.5, None, True, "ü\U0001f600\x00", {"": {}}], "n": 2**70},
        {"n": -(10**4299), "pair": (1, 2)},
        {"deep": nested(MOST_DEPTH - 1)},
    ],
)
def test_json_is_passed_on(conf: dict[str, Any]) -> None:
    assert objection(conf) is None


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"a": {"b": [0, float("inf")]}}, "a.b[1]: inf is not JSON"),
        ({"a": float("nan")}, "a: nan is not JSON"),
        ({"a": {1: 2}}, "a: the key 1 is not text"),
        ({"a": {1, 2}}, "a: a set is not JSON"),
        ({"a": b"x"}, "a: a bytes is not JSON"),
        ({"a": "\ud800"}, "a: text with half of a surrogate pair"),
        ({"\udfff": 1}, r"the key '\udfff' has half of a surrogate pair"),
        ({"a": 10**4300}, "a: an integer of more than 4300 digits"),
        ({"deep": nested(MOST_DEPTH)}, "more than 100 lists or objects"),
    ],
)
def test_what_would_not_reach_a_task_is_named(conf: dict[str, Any], said: str) -> None:
    assert (objection(conf) or "").startswith(said)


def test_a_conf_that_contains_itself_is_refused() -> None:
    conf: dict[str, Any] = {}
    conf["again"] = [conf, conf]

    assert objection(conf) == "more than 100 lists or objects within one another"
