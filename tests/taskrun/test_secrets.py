"""Connections and Variables: whose win, and what the absent ones are answered."""

import asyncio
from typing import Any

from appliance.config.model import Connection, Secrets
from appliance.taskrun.masking import Masker
from appliance.taskrun.secrets import ParseAnswers, SecretAnswers
from appliance.warm.frames import Reply

CONFIGURED = Secrets(
    connections={"db": Connection("db", conn_type="mysql", password="pa55word")},  # noqa: S106 - made up
    variables={"a": "1", "b": "2", "b_secret": "hush hush"},
)
OWN = Secrets(
    connections={"db": Connection("db", conn_type="sqlite", schema="main")},
    variables={"a": "own", "c": ""},
)


def ask(kind: str, own: Secrets | None = None, **body: Any) -> Reply:
    async def get_own() -> Secrets | None:
        return own

    async def answered() -> Reply:
        return await answers.handlers()[kind](body)

    answers = SecretAnswers(configured=CONFIGURED, own=get_own, masker=Masker())
    return asyncio.run(answered())


def test_the_runs_own_win() -> None:
    connection = ask("GetConnection", OWN, conn_id="db").body

    assert connection is not None
    assert (connection["conn_type"], connection["schema"]) == ("sqlite", "main")
    variable = ask("GetVariable", OWN, key="a").body
    assert variable == {"type": "VariableResult", "key": "a", "value": "own"}


def test_an_empty_variable_is_a_variable() -> None:
    variable = ask("GetVariable", OWN, key="c").body

    assert variable == {"type": "VariableResult", "key": "c", "value": ""}


def test_absent_ones_are_named_in_the_body() -> None:
    """In the error slot it would raise, and Airflow would not look any further."""
    connection, variable = (
        ask("GetConnection", conn_id="x"),
        ask("GetVariable", key="x"),
    )

    assert connection.body == {
        "type": "ErrorResponse",
        "error": "CONNECTION_NOT_FOUND",
        "detail": {"conn_id": "x"},
    }
    assert variable.body == {
        "type": "ErrorResponse",
        "error": "VARIABLE_NOT_FOUND",
        "detail": {"key": "x"},
    }


def test_keys_are_of_both_sorted_and_paged() -> None:
    every = ask("GetVariableKeys", OWN, prefix=None, limit=1000, offset=0).body
    page = ask("GetVariableKeys", OWN, prefix="b", limit=1, offset=1).body

    assert every is not None
    assert every["keys"] == ["a", "b", "b_secret", "c"]
    assert page == {
        "type": "VariableKeysResult",
        "keys": ["b_secret"],
        "total_entries": 2,
    }


async def test_a_dag_file_gets_variables_while_it_is_read_and_nothing_else() -> None:
    answer = ParseAnswers(CONFIGURED, {}).answer

    variable = await answer("GetVariable", {"key": "b"})
    assert variable.body == {"type": "VariableResult", "key": "b", "value": "2"}
    xcom = await answer("GetXCom", {"key": "b"})
    assert xcom.error is not None
    assert "while a DAG file is read" in xcom.error["detail"]["message"]
