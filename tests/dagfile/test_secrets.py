"""A DAG file may ask for secrets while it is read; nothing it does with them shows them."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config.model import Connection, DagSettings
from appliance.errors import DagError
from appliance.forkserver.control import Zygote
from tests.dagfile.conftest import FROM_ENV, Box

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
]

CANARY = "hunter2 canary/of:mine"
KEY = "-----BEGIN KEY-----\n    canary\n-----END KEY-----\n"
START = """
from airflow.sdk import DAG, Connection, Variable
dag = DAG("one")
key = Variable.get("api_key")
word = Connection.get("db").password
uri = Connection.get("db").get_uri()
outer = Connection.get("from_env").password
"""
ENDS = {
    "raises it": 'raise ValueError(f"{key} and {word}")',
    "raises its key": "raise ValueError(Variable.get('private_key'))",
    "raises what it was in": "raise KeyError(uri)",
    "raises one of the environment": "raise ValueError(outer)",
    "has it in its source": f'raise ValueError("{CANARY}")',
    "prints and exits": "print(key, word, uri, outer, flush=True)\n"
    "import os; os._exit(1)",
    "prints and crashes": "print(key, word, uri, outer, flush=True)\n"
    "import ctypes; ctypes.string_at(0)",
    "prints and is killed": "print(key, word, uri, outer, flush=True)\n"
    "import os; os.kill(os.getpid(), 9)",
    "prints and loops": "print(key, word, uri, outer, flush=True)\n"
    "while True:\n  try:\n    import time; time.sleep(60)\n  except BaseException: 0",
}

DUMPED = ("prints and crashes", "prints and loops")
"""Of these the last lines are the interpreter's own."""


@pytest.mark.parametrize("end", ENDS)
async def test_what_a_file_says_of_its_end_is_masked(
    tmp_path: Path, zygote: Zygote, settings: DagSettings, end: str
) -> None:
    box = Box(tmp_path, zygote, replace(settings, import_timeout_s=2.0))
    box.variables.update(api_key=CANARY, private_key=KEY)
    box.connections["db"] = Connection("db", conn_type="http", password=CANARY)
    box.write("one.py", START + ENDS[end])

    listing = await box.folder.listing()
    with pytest.raises(DagError) as refused:
        await box.folder.check(dag_id="one")

    (error,) = listing.errors
    for text in (error.error, str(refused.value)):
        assert "***" in text or end in DUMPED
        assert "canary" not in text
        assert FROM_ENV not in text


async def test_what_a_check_says_is_masked(box: Box) -> None:
    box.variables["api_key"] = CANARY
    box.write(
        "one.py",
        """
        from airflow.sdk import DAG, Param, Variable
        key = Variable.get("api_key")
        dag = DAG("one", params={"n": Param("a", enum=["a", key])})
        """,
    )

    with pytest.raises(DagError) as refused:
        await box.folder.check(dag_id="one", conf={"n": "none"})

    assert "param n" in str(refused.value)
    assert "***" in str(refused.value)
    assert "canary" not in str(refused.value)


async def test_one_file_is_not_masked_with_the_secrets_of_another(box: Box) -> None:
    box.variables["api_key"] = "ValueError"
    box.write("one.py", START.splitlines()[1] + "\nVariable.get('api_key')\nx = 1 / 0")
    box.write("two.py", "raise ValueError('of airflow dag')")

    one, two = (await box.folder.listing()).errors

    assert "ZeroDivisionError" in one.error
    assert two.error.startswith("ValueError: of airflow dag")
