"""An Astro project's settings mean here what they mean to Astro."""

from pathlib import Path

import pytest

from appliance.config.airflow_environment import airflow_environment
from appliance.config.load import load
from appliance.config.machine_limits import Machine
from appliance.config.model import Config, Connection, Pool
from appliance.errors import ConfigError

MACHINE = Machine(cpus=2, memory_bytes=4 << 30)
TEMPLATE = """
airflow:
  connections:
    - conn_id:
      conn_type:
      conn_host:
      conn_port:
      conn_extra:
        example_extra_field: example-value
  pools:
    - pool_name:
      pool_slot:
      pool_description:
  variables:
    - variable_name:
      variable_value:
"""


def loaded(cwd: Path, settings: str, **environ: str) -> Config:
    project = cwd / "project"
    project.mkdir(exist_ok=True)
    (project / "airflow_settings.yaml").write_text(settings)
    env = {"APPLIANCE_PROJECT": "project", **environ}
    return load(env, cwd=cwd, machine=MACHINE)


def test_the_template_is_empty(tmp_path: Path) -> None:
    config = loaded(tmp_path, TEMPLATE)
    assert config.secrets.connections == {}
    assert config.secrets.variables == {}
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("written", "connection"),
    [
        (
            "{conn_id: c, conn_type: postgres, conn_host: h, conn_schema: s, "
            "conn_login: l, conn_password: p'w, conn_port: 1, conn_extra: {a: [1]}}",
            Connection("c", "postgres", "h", "s", "l", "p'w", 1, '{"a": [1]}'),
        ),
        (
            "{conn_id: c, type: http, host: h, port: 0, extra: '{\"a\": 1}'}",
            Connection("c", "http", "h", extra='{"a": 1}'),
        ),
        (
            "{conn_id: c, conn_uri: 'http://l:p@h:1/s'}",
            Connection("c", "http", "h", "s", "l", "p", 1),
        ),
        (
            "{conn_id: c, conn_type: http, conn_uri: 'ftp://x'}",
            Connection("c", "http"),
        ),
    ],
)
def test_connections(tmp_path: Path, written: str, connection: Connection) -> None:
    config = loaded(tmp_path, f"airflow: {{connections: [{written}]}}")
    assert config.secrets.connections == {"c": connection}


def test_variables_are_text_and_empty_ones_are_none(tmp_path: Path) -> None:
    text = """
airflow:
  variables:
    - {variable_name: a, variable_value: 0123}
    - {variable_name: b, variable_value: ''}
    - {name: c, value: true}
"""
    assert loaded(tmp_path, text).secrets.variables == {"a": "0123", "c": "true"}


def test_what_is_wrong_is_told_with_its_place(tmp_path: Path) -> None:
    text = (
        "airflow:\n  connections:\n    - {conn_id: c, conn_hots: h}\n  varables: []\n"
    )
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    file = tmp_path / "project" / "airflow_settings.yaml"
    assert str(caught.value).splitlines() == [
        f"{file}:3:17: 'c' needs conn_type or conn_uri",
        f"{file}:3:20: unknown key 'conn_hots' in airflow.connections[0], did you mean "
        "'conn_host'?",
        f"{file}:4:3: unknown key 'varables' in airflow, did you mean 'variables'?",
    ]


def test_pools_are_taken_and_package_lists_warned_of(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "requirements.txt").write_text("# none\n\npandas\n")
    (tmp_path / "project" / "packages.txt").write_text("# none\n")
    pool = "{pool_name: narrow, pool_slot: 1, pool_include_deferred: true}"
    config = loaded(tmp_path, f"airflow: {{pools: [{pool}]}}\n")
    project = tmp_path / "project"
    assert config.pools == {"narrow": Pool(1, include_deferred=True)}
    assert config.warnings == (
        f"{project}/requirements.txt is not installed: build an image on top of this "
        "one (docs/OPERATIONS.md).",
    )


def test_a_project_brings_folders_and_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "appliance.yaml").write_text("variables: {a: file, b: file}")
    text = "airflow: {variables: [{variable_name: a, variable_value: project}]}"
    config = loaded(tmp_path, text, PYTHONPATH="/mine")
    assert config.project == tmp_path / "project"
    assert config.dags.folder == tmp_path / "project" / "dags"
    assert config.dags.plugins_folder == tmp_path / "project" / "plugins"
    assert config.secrets.variables == {"a": "project", "b": "file"}
    path = airflow_environment(config)["PYTHONPATH"]
    assert path == f"{tmp_path}/project:/mine"


def test_a_named_project_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="APPLIANCE_PROJECT: the folder 'x' does"):
        load({"APPLIANCE_PROJECT": "x"}, cwd=tmp_path, machine=MACHINE)
