"""Every example in ``dags/`` ends as it does on Airflow: states, tries and XComs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.box import RunningBox
from tests.conftest import ROOT
from tests.postgres import Postgres, running_postgres

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class Example:
    """A DAG, what it needs, and what each of its tasks returns."""

    dag_id: str
    returned: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)


EXAMPLES = (
    Example("my_dag", {"who": "world", "greet": "Hello, world!"}),
    Example("hello_world", {"hello": "Hello from run test", "goodbye": None}),
    Example(
        "my_data_pipeline",
        {
            "extract": [1, 2, 3, 4, 5],
            "transform": {"count": 5, "total": 15},
            "load": "loaded 5 values, total 15",
        },
    ),
    Example(
        "api_pipeline",
        {
            "configure": {
                "url": "https://api.example.com/staging/orders",
                "has_key": True,
            },
            "fetch": [
                {"id": 1, "amount": 10},
                {"id": 2, "amount": 20},
                {"id": 3, "amount": 30},
            ],
            "report": 60,
        },
        variables={"api_key": "s3cr3t-k3y", "environment": "staging"},
    ),
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.dag_id)
def test_example_ends_as_on_airflow(
    box: RunningBox, example: Example, tmp_path: Path
) -> None:
    variables = tmp_path / "variables.json"
    variables.write_text(json.dumps(example.variables))

    run = box.submit(
        *(example.dag_id, "--run-id", "test", "--wait", "-o", "json"),
        *("--variables", str(variables)),
    )

    assert run.code == 0, run.stderr + box.output()
    assert run.json["state"] == "success"
    assert {
        (row["task_id"], row["map_index"], row["state"], row["try_number"])
        for row in run.json["tasks"]
    } == {(task_id, -1, "success", 1) for task_id in example.returned}
    xcoms = box.appliance("xcoms", example.dag_id, "test", "-o", "json").json
    assert {
        row["task_id"]: row["value"] for row in xcoms if row["key"] == "return_value"
    } == {
        task_id: value
        for task_id, value in example.returned.items()
        if value is not None
    }


def test_postgres_etl_fills_a_real_table(
    box: RunningBox, postgres: Postgres, tmp_path: Path
) -> None:
    connections = tmp_path / "connections.json"
    connections.write_text(json.dumps({"postgres_default": postgres.uri()}))

    run = box.submit(
        *("postgres_etl", "--wait", "-o", "json", "--connections", str(connections))
    )

    assert run.code == 0, run.stderr + box.output()
    assert {row["task_id"]: row["state"] for row in run.json["tasks"]} == {
        "create_table": "success",
        "insert_pets": "success",
    }
    assert postgres.query("SELECT name, kind FROM pets ORDER BY name") == [
        "Lester|hamster",
        "Max|dog",
        "Susie|cat",
    ]


def test_every_example_is_tested() -> None:
    tested = {example.dag_id for example in EXAMPLES} | {"postgres_etl"}

    assert tested == {path.stem for path in (ROOT / "dags").glob("*.py")}
