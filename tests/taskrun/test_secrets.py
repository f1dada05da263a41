"""Connections and Variables: whose win, and what the absent ones are answered."""

import asyncio
from typing import Any

from appliance.config.model import Connection, Secrets
from appliance.forkserver.frames import Reply
from appliance.taskrun.masking import Masker
from appliance.taskrun.responses import OK
from appliance.taskrun.secrets import ParseAnswers, SecretAnswers
from tests.fakes.kv_stores import FakeVault

CONFIGURED = Secrets(
    connections={"db": Connection("db", conn_type="mysql", password="pa55word")},  # noqa: S106 - made up
    variables={"a": "1", "b": "2", "b_secret": "hush hush"},
)
OWN = Secrets(
    connections={"db": Connection("db", conn_type="sqlite", schema="main")},
    variables={"a": "own", "c": ""},
)


def ask(
    kind: str,
    own: Secrets | None = None,
    *,
    vault: FakeVault | None = None,
    masker: Masker | None = None,
    **body: Any,
) -> Reply:
    async def get_own() -> Secrets | None:
        return own

    async def answered() -> Reply:
        return await answers.handlers()[kind](body)

    answers = SecretAnswers(
        configured=CONFIGURED,
        own=get_own,
        written=vault or FakeVault(),
        masker=masker or Masker(),
    )
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


def test_what_a_task_wrote_wins_over_the_configuration_not_over_the_submission() -> (
    None
):
    vault = FakeVault()
    for key in ("a", "b", "new"):
        assert ask("PutVariable", vault=vault, key=key, value="written") == Reply()

    def read(key: str, own: Secrets | None = None) -> Any:
        body = ask("GetVariable", own, vault=vault, key=key).body
        assert body is not None
        return body["value"]

    assert [read(key) for key in ("a", "b", "new")] == ["written"] * 3
    assert read("a", OWN) == "own"
    keys = ask("GetVariableKeys", vault=vault, prefix="", limit=9).body
    assert keys is not None
    assert keys["keys"] == ["a", "b", "b_secret", "new"]


def test_a_deleted_variable_is_gone_even_if_it_is_declared() -> None:
    vault = FakeVault()
    ask("PutVariable", vault=vault, key="new", value="written")
    for key in ("a", "new"):
        assert ask("DeleteVariable", vault=vault, key=key).body == OK.body
        found = ask("GetVariable", vault=vault, key=key).body
        assert found is not None
        assert found["error"] == "VARIABLE_NOT_FOUND"
    keys = ask("GetVariableKeys", vault=vault, prefix="", limit=9).body

    assert keys is not None
    assert keys["keys"] == ["b", "b_secret"]


def test_what_a_task_writes_under_a_sensitive_name_is_masked() -> None:
    masker = Masker()
    ask("PutVariable", masker=masker, key="api_key", value="hunter22")
    ask("PutVariable", masker=masker, key="color", value="crimson")

    assert masker.hide("hunter22 crimson") == "*** crimson"


async def test_a_dag_file_gets_variables_while_it_is_read_and_nothing_else() -> None:
    answer = ParseAnswers(CONFIGURED, FakeVault(), {}).answer

    variable = await answer("GetVariable", {"key": "b"})
    assert variable.body == {"type": "VariableResult", "key": "b", "value": "2"}
    xcom = await answer("GetXCom", {"key": "b"})
    assert xcom.error is not None
    assert "while a DAG file is read" in xcom.error["detail"]["message"]
