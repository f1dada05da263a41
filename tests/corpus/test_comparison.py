"""The comparison of the corpus sees differences, and only those that count."""

from typing import Any

import pytest

from tests.corpus.comparison import difference

Row = dict[str, Any]


def row(value: Any, *, state: str = "success", tries: int = 1) -> Row:
    instance = {"task_id": "a", "map_index": -1, "state": state, "try_number": tries}
    xcom = {"task_id": "a", "map_index": -1, "key": "return_value", "value": value}
    return {"run_state": "success", "tis": [instance], "xcoms": [xcom]}


TUPLE = {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1, 2]}
DIGEST = {
    "__digest__": "c6d9e6c4b71e4ef0d5c9ca0c9bb8b2a5a3d6a8f9f7c0f0f0f0f0f0f0f0f0f0f0",
    "__len__": 3,
}

SAME = (
    (1, 1),
    (1.0, 1),
    ([1, 2], TUPLE),
    (23, "23"),
    ({"a": 1}, '{"a": 1}'),
    ({"__nondeterministic__": True}, "anything"),
    ({"a": [None, True]}, {"a": [None, True]}),
)
DIFFERENT = (
    (1, 2, "expected 1, got 2"),
    (1, True, "expected 1, got true"),
    (1, "one", 'expected 1, got "one"'),
    ("1", 1, 'expected "1", got 1'),
    ([1], [1, 2], "expected 1 items, got 2"),
    ({"a": 1}, {"b": 1}, 'expected ["a"], got ["b"]'),
    ({"a": [1]}, {"a": [2]}, ".a.0: expected 1, got 2"),
    ({"a": 1}, None, "got null"),
    (DIGEST, "x", ".__digest__: expected"),
)


@pytest.mark.parametrize(("expected", "got"), SAME)
def test_equal_values_are_no_difference(expected: Any, got: Any) -> None:
    assert difference(row(expected), row(got)) is None


@pytest.mark.parametrize(("expected", "got", "said"), DIFFERENT)
def test_first_difference_is_named(expected: Any, got: Any, said: str) -> None:
    found = difference(row(expected), row(got))

    assert found is not None
    assert said in found


def test_states_tries_and_missing_instances_are_differences() -> None:
    assert "state" in (difference(row(1), row(1, state="failed")) or "")
    assert "try_number" in (difference(row(1), row(1, tries=2)) or "")
    assert "missing" in (difference(row(1), {**row(1), "tis": []}) or "")
    assert "run:" in (difference(row(1), {**row(1), "run_state": "failed"}) or "")


def test_tasks_that_airflow_runs_at_random_are_ignored() -> None:
    expected = {**row(1), "ignore_tasks": ["a"]}

    assert difference(expected, row(2, state="skipped")) is None
