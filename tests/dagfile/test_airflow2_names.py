"""DAG files of before Airflow 3: what to write instead is told beside Airflow's own error."""

import importlib
import importlib.util

import pytest

from appliance.forkserver import airflow2_names
from tests.dagfile.conftest import Box

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
]

FILES = {
    "from airflow.operators.python_operator import PythonOperator, BranchPythonOperator": (
        "Airflow 3: from airflow.providers.standard.operators.python import "
        "PythonOperator; from airflow.providers.standard.operators.python import "
        "BranchPythonOperator."
    ),
    "from airflow.operators.dummy import DummyOperator": (
        "Airflow 3: from airflow.providers.standard.operators.empty import "
        "EmptyOperator."
    ),
    "import airflow.operators.bash_operator": (
        "airflow.operators.bash_operator is now "
        "airflow.providers.standard.operators.bash."
    ),
    "from airflow.hooks.base_hook import BaseHook": "from airflow.sdk import BaseHook.",
    "from airflow.hooks.mysql_hook import MySqlHook": (
        "from airflow.providers.mysql.hooks.mysql import MySqlHook."
    ),
    "from airflow.datasets import Dataset": "from airflow.sdk import Asset.",
    "from airflow.utils.dates import days_ago": "days_ago is gone. Give a fixed",
    "from airflow.utils.helpers import chain": "from airflow.sdk import chain.",
    "from airflow.operators.subdag import SubDagOperator": "Use a TaskGroup",
    "from airflow.contrib.operators.ssh_operator import SSHOperator": (
        "airflow.contrib is gone. What was in it is in provider packages."
    ),
    "from airflow.hooks.ftp_hook import FTPHook": (
        "airflow.hooks.ftp_hook is gone. What was in it is in a provider package."
    ),
    "DAG('a', schedule_interval='@daily')": "no schedule_interval=. Write schedule= ",
    "DAG('a', concurrency=3)": "there is no concurrency=. Write max_active_tasks= ",
    "DAG('a', default_view='graph')": "there is no default_view=. Remove it",
    "@dag(fail_stop=True)\ndef a(): ...\na()": "Write fail_fast= instead.",
    "BashOperator(task_id='a', bash_command='', provide_context=True)": (
        "there is no provide_context=. Remove it: the context is always given."
    ),
    "BashOperator(task_id='a', bash_command='', task_concurrency=1, pool_x=1)": (
        "there is no task_concurrency=. Write max_active_tis_per_dag= instead."
    ),
    "with DAG('a'): BashOperator(task_id='a', bash_command='', trigger_rule='dummy')": (
        "there is no trigger rule dummy. Write always instead."
    ),
    "TriggerRule.NONE_FAILED_OR_SKIPPED": "Write none_failed_min_one_success instead.",
}
HEAD = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, TriggerRule, dag
"""


async def test_an_error_at_a_name_of_airflow_2_says_what_to_write(box: Box) -> None:
    for number, line in enumerate(FILES):
        box.write(f"f{number:02}.py", f"{HEAD}{line}\n")

    errors = {error.file: error for error in (await box.folder.listing()).errors}

    for number, (line, said) in enumerate(FILES.items()):
        error = errors[f"f{number:02}.py"]
        assert said in error.error, line
        assert error.line is not None


async def test_the_provider_to_install_is_named_when_it_is_not_there(box: Box) -> None:
    box.write(
        "one.py", f"{HEAD}from airflow.sensors.s3_key_sensor import S3KeySensor\n"
    )

    (error,) = (await box.folder.listing()).errors

    assert error.error.endswith(
        "Airflow 3: from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor. "
        "Install the provider: pip install apache-airflow-providers-amazon"
    )


@pytest.mark.parametrize(
    "text",
    [
        "TypeError: DAG.__init__() got an unexpected keyword argument 'scheduel'",
        "ModuleNotFoundError: No module named 'airflow.nothing'",
        "ModuleNotFoundError: No module named 'mine'\n    from mine import days_ago",
        "KeyError: 'conf'",
        "AttributeError: 'Mine' object has no attribute 'execution_date'",
        "ValueError: execution_date",
    ],
)
async def test_other_errors_have_no_hint(text: str) -> None:
    assert airflow2_names.hint(text) is None


async def test_what_is_to_be_written_is_there() -> None:
    """As far as its provider is installed."""
    wanted = {*airflow2_names.NEW_MODULES.values(), *airflow2_names.NEW_NAMES.values()}
    tried = [path for path in wanted if _is_there(".".join(path.split(".")[:3]))]

    assert len(tried) > 10
    for path in tried:
        try:
            importlib.import_module(path)
        except ImportError:
            module, _, name = path.rpartition(".")
            assert hasattr(importlib.import_module(module), name), path


async def test_what_is_said_to_be_gone_is_gone() -> None:
    for path in airflow2_names.NEW_MODULES:
        assert not _can_import(path), path


def _can_import(path: str) -> bool:
    try:
        importlib.import_module(path)
    except ImportError:
        return False
    return True


def _is_there(package: str) -> bool:
    if not package.startswith("airflow."):
        return False
    try:
        found = importlib.util.find_spec(package)
    except ImportError:
        return False
    return found is not None and found.origin is not None
