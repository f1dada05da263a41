"""The environment beats the file, the file beats the defaults."""

import json
from pathlib import Path

import pytest

from appliance.config.airflow_environment import airflow_environment
from appliance.config.load import load
from appliance.config.machine_limits import Machine
from appliance.config.model import Config, Pool
from appliance.config.show import show
from appliance.errors import ConfigError

MACHINE = Machine(cpus=2, memory_bytes=4 << 30)
SPECIMEN = Path(__file__).parents[2] / "conf" / "appliance.yaml"

REMOTE_LOGS = {"AIRFLOW__LOGGING__REMOTE_LOGGING": "True"}


def loaded(cwd: Path, text: str = "", **environ: str) -> Config:
    (cwd / "conf").mkdir(exist_ok=True)
    (cwd / "conf" / "appliance.yaml").write_text(text)
    return load(environ, cwd=cwd, machine=MACHINE)


def test_defaults_without_a_file(tmp_path: Path) -> None:
    config = load({}, cwd=tmp_path, machine=MACHINE)
    assert config == Config(
        file=tmp_path / "conf/appliance.yaml",
        data=tmp_path / ".appliance",
        dags=config.dags,
        sources=config.sources,
    )
    assert config.dags.folder == tmp_path / "dags"
    assert config.runs_server
    assert config.runs_worker


def test_missing_named_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^APPLIANCE_CONF: the file 'a.yaml' does"):
        load({"APPLIANCE_CONF": "a.yaml"}, cwd=tmp_path, machine=MACHINE)


def test_every_key(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
retention: 12h
worker: {parallelism: 7, grace: 1.5s, on_lost: fail, max_lost: 0}
dags: {folder: ../my, plugins: /p, max_age: 2m}
temporal: {namespace: n, task_queue: q, ip: 0.0.0.0, port: 1, ui_ip: '::', ui_port: 2,
  metrics_port: 3, ui_hosts: 'UI.example.com , b'}
variables: {pw: 0123}
""",
    )
    assert config.temporal.retention_s == 12 * 3600
    assert (config.worker.parallelism, config.worker.grace_s) == (7, 1.5)
    assert (config.worker.on_lost, config.worker.max_lost) == ("fail", 0)
    assert config.dags.folder == tmp_path / "my"
    assert config.dags.plugins_folder == Path("/p")
    assert config.dags.max_age_s == 120
    assert (config.temporal.namespace, config.temporal.task_queue) == ("n", "q")
    assert (config.temporal.ip, config.temporal.ui_ip) == ("0.0.0.0", "::")  # noqa: S104
    assert (config.temporal.port, config.temporal.ui_port) == (1, 2)
    assert config.temporal.metrics_port == 3
    assert config.temporal.ui_hosts == "ui.example.com,b"


def test_environment_beats_the_file(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "role: worker\n"
        "temporal: {address: a:1, namespace: n, task_queue: q, port: 1, ip: '::', "
        "ui_hosts: a}\n"
        "dags: {folder: x}",
        APPLIANCE_ROLE="all",
        TEMPORAL_ADDRESS="b:2",
        TEMPORAL_NAMESPACE="m",
        TEMPORAL_TASK_QUEUE="r",
        APPLIANCE_PORT="9",
        APPLIANCE_IP="127.0.0.2",
        APPLIANCE_UI_HOSTS="b,c",
        AIRFLOW__CORE__DAGS_FOLDER="d",
        APPLIANCE_DATA="/var/data",
    )
    temporal = config.temporal
    assert (config.role, temporal.address, temporal.namespace) == ("all", "b:2", "m")
    assert (temporal.task_queue, temporal.port) == ("r", 9)
    assert (temporal.ip, temporal.ui_ip) == ("127.0.0.2", "127.0.0.2")
    assert temporal.ui_hosts == "b,c"
    assert (config.dags.folder, config.data) == (tmp_path / "d", Path("/var/data"))
    assert not config.runs_server


def test_temporal_host_is_accepted_with_a_notice(tmp_path: Path) -> None:
    config = loaded(tmp_path, TEMPORAL_HOST="h:1")
    assert config.temporal.address == "h:1"
    assert config.warnings == ("TEMPORAL_HOST is an old name, write TEMPORAL_ADDRESS.",)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"APPLIANCE_ROLE": "worker"}, "APPLIANCE_ROLE: 'worker' needs TEMPORAL_ADDRE"),
        (
            {"APPLIANCE_ROLE": "server", "TEMPORAL_ADDRESS": "a:1"},
            "APPLIANCE_ROLE: 'server' runs the Temporal server here, but",
        ),
        ({"APPLIANCE_ROLE": "x"}, "APPLIANCE_ROLE: expected one of all, server, work"),
        ({"APPLIANCE_PORT": "0"}, "APPLIANCE_PORT: expected a port from 1 to 65535"),
        ({"APPLIANCE_UI_HOSTS": "a:1"}, "APPLIANCE_UI_HOSTS: expected names of hosts,"),
        ({"APPLIANCE_PORT": "8233"}, "APPLIANCE_PORT: the ports must differ: port 8"),
        (
            {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "x"},
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT: expected seconds, not 'x'",
        ),
        (
            {**REMOTE_LOGS, "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "gs://b/logs"},
            "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER: gs:// needs a package "
            "that is not installed: pip install apache-airflow-providers-google",
        ),
        (
            {**REMOTE_LOGS, "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "ftp://b"},
            "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER: Airflow keeps no logs th",
        ),
        (
            REMOTE_LOGS,
            "AIRFLOW__LOGGING__REMOTE_LOGGING: is on, but AIRFLOW__LOGGING__REMOTE_B",
        ),
        (
            {"AIRFLOW__CORE__DEFAULT_TIMEZONE": "Europe/Berlim"},
            "AIRFLOW__CORE__DEFAULT_TIMEZONE: unknown time zone 'Europe/Berlim', did you "
            "mean 'Europe/Berlin'?",
        ),
        (
            {"AIRFLOW__CORE__DEFAULT_TIMEZONE": "../x"},
            "AIRFLOW__CORE__DEFAULT_TIMEZONE: unknown time zone '../x'; a name of the "
            "IANA database is expected, as in Europe/Berlin, or system",
        ),
    ],
)
def test_wrong_environment(
    tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ, cwd=tmp_path, machine=MACHINE)
    assert str(caught.value).startswith(message)


def test_one_warning_lists_what_has_no_effect(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        AIRFLOW__SCHEDULER__NUM_RUNS="1",
        AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS="True",
        AIRFLOW__WEBSERVER__SECRET_KEY_CMD="x",  # noqa: S106
        AIRFLOW__API__BASE_URL="http://x",
        AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
        AIRFLOW__CORE__DEFAULT_TIMEZONE="Europe/Berlin",
        AIRFLOW_CONN_X="http://x",
    )
    assert config.warnings == (
        "No effect here, as there is no Airflow scheduler, web server or database: "
        "AIRFLOW__CORE__EXECUTOR, AIRFLOW__SCHEDULER__NUM_RUNS, "
        "AIRFLOW__WEBSERVER__SECRET_KEY_CMD.",
    )
    passed = airflow_environment(config)
    assert passed["AIRFLOW__CORE__DEFAULT_TIMEZONE"] == "Europe/Berlin"
    assert passed["AIRFLOW_CONN_X"] == "http://x"


@pytest.mark.parametrize("name", ["system", "utc", "UTC", "Asia/Kolkata", ""])
def test_time_zones_that_airflow_knows_are_no_problem(
    tmp_path: Path, name: str
) -> None:
    assert not loaded(tmp_path, AIRFLOW__CORE__DEFAULT_TIMEZONE=name).warnings


FAKE_AMAZON = Path(__file__).parents[1] / "fakes" / "amazon"
UPLOADS = {
    "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
    "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "s3://b",
}
CONN_ID = "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"


def test_a_connection_for_remote_logs_that_does_not_exist_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FAKE_AMAZON))
    with pytest.raises(ConfigError) as caught:
        loaded(
            tmp_path, "connections: {my_s3: 'aws://'}", **UPLOADS, **{CONN_ID: "mys3"}
        )
    assert str(caught.value) == (
        f"{CONN_ID}: there is no connection 'mys3', did you mean 'my_s3'? "
        "Declare it in appliance.yaml or as AIRFLOW_CONN_MYS3, or unset the variable"
    )


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("connections: {my_s3: 'aws://'}", {CONN_ID: "my_s3"}),
        ("", {CONN_ID: "my_s3", "AIRFLOW_CONN_MY_S3": "aws://"}),
        ("", {CONN_ID: "aws_default"}),
        ("", {CONN_ID: "elsewhere", "AIRFLOW__SECRETS__BACKEND": "my.Vault"}),
        ("", {}),
    ],
    ids=["file", "environment", "the cloud's own rights", "secrets backend", "none"],
)
def test_a_connection_for_remote_logs_may_be_wherever_airflow_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, environ: dict[str, str]
) -> None:
    monkeypatch.syspath_prepend(str(FAKE_AMAZON))
    assert not loaded(tmp_path, text, **UPLOADS, **environ).warnings


def test_misspelt_variable_of_ours_is_told(tmp_path: Path) -> None:
    config = loaded(tmp_path, APPLIANCE_DAT="x", APPLIANCE_SOMETHING_ELSE="y")
    assert config.warnings == (
        "APPLIANCE_DAT is unknown, did you mean APPLIANCE_DATA?",
    )


def test_airflow_is_told_where_things_are(tmp_path: Path) -> None:
    environment = airflow_environment(
        loaded(
            tmp_path,
            AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH="s3://b",
            AIRFLOW__LOGGING__BASE_LOG_FOLDER="/elsewhere",
        )
    )
    logs = environment["AIRFLOW__LOGGING__BASE_LOG_FOLDER"]
    assert logs == f"{tmp_path}/.appliance/logs"
    assert environment["AIRFLOW_HOME"] == f"{tmp_path}/.appliance/airflow"
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == f"{tmp_path}/dags"
    assert environment["AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"] == "s3://b"
    listed = environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"]
    (bundle,) = json.loads(listed)
    assert bundle["name"] == "dags-folder"
    assert bundle["kwargs"] == {"path": f"{tmp_path}/dags"}


def test_secrets_from_environment_and_file(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "pw").write_text("s3cret\n")
    config = loaded(
        tmp_path,
        "connections: {c: {conn_type: http, password: !file pw, login: !env WHO}}",
        WHO="me",
    )
    connection = config.secrets.connections["c"]
    assert (connection.password, connection.login) == ("s3cret", "me")


SECRETS = """\
connections:
  c: {conn_type: http, login: '${WHO:-me}', password: "${PASSWORD}", port: '${PORT}'}
  d: postgres://me:${PASSWORD}@${HOST:-db}/shop
variables:
  plain: $${PASSWORD} costs $5
  mixed: a-${PASSWORD}-${EMPTY:-b}${EMPTY}
  number: ${PORT}
worker: {parallelism: '${PORT}'}
"""


def test_variables_of_the_environment_within_values(tmp_path: Path) -> None:
    config = loaded(tmp_path, SECRETS, PASSWORD="s3cret", PORT="7", EMPTY="")  # noqa: S106
    connections, variables = config.secrets.connections, config.secrets.variables
    assert (connections["c"].login, connections["c"].password) == ("me", "s3cret")
    assert (connections["c"].port, config.worker.parallelism) == (7, 7)
    assert (connections["d"].password, connections["d"].host) == ("s3cret", "db")
    assert variables == {
        "plain": "${PASSWORD} costs $5",
        "mixed": "a-s3cret-b",
        "number": "7",
    }


def test_name_file_stands_for_the_variable(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("s3cret\n")
    (tmp_path / "uri").write_text("http://me:s3cret@h\n")
    (tmp_path / "address").write_text("temporal:7233\n")
    config = loaded(
        tmp_path,
        "variables: {a: '${PASSWORD}', b: !env PASSWORD}",
        PASSWORD_FILE="pw",  # noqa: S106
        AIRFLOW_CONN_WEB_FILE="uri",
        AIRFLOW_CONN_A_FILE="http://this-is-a-connection-of-the-id-a_file",
        TEMPORAL_ADDRESS_FILE="address",
        TEMPORAL_API_KEY_FILE="pw",
    )
    assert config.secrets.variables == {"a": "s3cret", "b": "s3cret"}
    assert list(config.secrets.connections) == ["web"]
    assert config.secrets.connections["web"].password == "s3cret"  # noqa: S105
    assert config.temporal.address == "temporal:7233"
    assert config.temporal_env["TEMPORAL_API_KEY"] == "s3cret"
    assert "AIRFLOW_CONN_WEB" not in config.airflow_env
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"P": "x", "P_FILE": "pw"},
            "conf/appliance.yaml:1:16: both P and P_FILE are set, unset one",
        ),
        (
            {"P_FILE": "none"},
            "conf/appliance.yaml:1:16: file '{cwd}/none' cannot be read: No such file "
            "or directory",
        ),
        (
            {"P": "x", "APPLIANCE_ROLE": "all", "APPLIANCE_ROLE_FILE": "pw"},
            "APPLIANCE_ROLE_FILE: both APPLIANCE_ROLE and APPLIANCE_ROLE_FILE are set, "
            "unset one",
        ),
        (
            {"PP": "x"},
            "conf/appliance.yaml:1:16: environment variable 'P' is not set; a plain ${ "
            "is written $${",
        ),
    ],
)
def test_name_file_that_cannot_stand(
    tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    (tmp_path / "pw").write_text("s3cret")
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "variables: {a: '${P}'}", **environ)
    assert str(caught.value).split("; a plain")[0] == message.split("; a plain")[
        0
    ].replace("{cwd}", str(tmp_path))


def test_line_end_of_a_secret_file_is_left_out_and_noted(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "pw").write_text("s3cret\r\n")
    (tmp_path / "conf" / "two").write_text("s3cret\n\n")
    config = loaded(tmp_path, "variables: {a: !file pw, b: !file two}")
    assert config.secrets.variables == {"a": "s3cret", "b": "s3cret\n"}
    folder = tmp_path / "conf"
    assert config.notes == (
        f"conf/appliance.yaml:1:16: the line end that ends '{folder}/pw' is left out",
        f"conf/appliance.yaml:1:29: the line end that ends '{folder}/two' is left out; "
        "it has more, which are kept",
    )
    assert {folder / "pw", folder / "two", config.file} <= config.sources


def test_the_whole_file_in_the_environment(tmp_path: Path) -> None:
    text = "variables: {a: !file pw}\nrole: server\nworker: {grace: 1s}\n"
    (tmp_path / "pw").write_text("s3cret")
    config = load({"APPLIANCE_CONFIG": text}, cwd=tmp_path, machine=MACHINE)
    assert config.secrets.variables == {"a": "s3cret"}
    assert (config.role, config.worker.grace_s) == ("server", 1)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"APPLIANCE_CONFIG": "rol: all"},
            "APPLIANCE_CONFIG:1:1: unknown key 'rol', did you mean 'role'?",
        ),
        (
            {"APPLIANCE_CONFIG": "conf/appliance.yaml"},
            "APPLIANCE_CONFIG: holds the whole file; the path of one goes into "
            "APPLIANCE_CONF",
        ),
        (
            {"APPLIANCE_CONFIG": "{}", "APPLIANCE_CONF": "a.yaml"},
            "APPLIANCE_CONFIG: holds the whole file and APPLIANCE_CONF names one, unset "
            "one of them",
        ),
    ],
)
def test_wrong_file_in_the_environment(
    tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ, cwd=tmp_path, machine=MACHINE)
    assert str(caught.value) == message


def test_show_masks_and_repr_hides(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "connections:\n"
        "  c: postgres://me:canary@db:5432/x?token=canary\n"
        "variables: {plain_name: canary}\n",
        AIRFLOW_CONN_D="http://u:canary@h",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="canary",
    )
    text = show(config)
    assert "canary" not in text
    assert "canary" not in repr(config)
    for visible in ("host: db", "login: me", "token: '***'", "plain_name: '***'"):
        assert visible in text


def test_specimen_is_valid_and_shows_the_defaults(tmp_path: Path) -> None:
    text = SPECIMEN.read_text()
    config = loaded(tmp_path, text)
    assert config.secrets.variables == {
        "api_key": "not-a-real-key",
        "environment": "development",
    }
    # What is commented out, but for the examples, is what holds without it.
    told = [
        line.replace("# ", "", 1)
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
        or (": " in line and "(example)" not in line and is_key(line))
    ]
    assert loaded(tmp_path, "\n".join(told)) == config


def is_key(line: str) -> bool:
    word = line.lstrip(" #").split(":")[0]
    return word in {
        *("role", "retention", "grace", "on_lost", "max_lost", "folder", "plugins"),
        *("max_age", "namespace", "task_queue", "ip", "port", "ui_ip", "ui_port"),
        "metrics_port",
    } and not line.startswith("  #   ")


def test_in_the_image_the_defaults_start_from_the_root_folder(tmp_path: Path) -> None:
    env = {"APPLIANCE_IMAGE": "1", "APPLIANCE_KEY_FILE": "my/keys"}
    config = load(env, cwd=tmp_path, machine=MACHINE)
    assert config.file == Path("/conf/appliance.yaml")
    assert config.dags.folder == Path("/dags")
    assert config.dags.plugins_folder == Path("/plugins")
    assert config.key_file == tmp_path / "my/keys"


def test_a_variable_in_a_file_is_no_misspelt_one(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("7300")
    config = loaded(tmp_path, APPLIANCE_PORT_FILE=str(tmp_path / "port"))

    assert config.temporal.port == 7300
    assert config.warnings == ()


def test_pools_are_taken_as_the_environment_writes_them(tmp_path: Path) -> None:
    text = "pools: {p: {slots: '${SLOTS}', include_deferred: '${DEFERRED}'}, q: {slots: 1, include_deferred: TRUE}}"
    config = loaded(tmp_path, text, SLOTS="-1", DEFERRED="True")

    assert config.pools["p"] == Pool(-1, include_deferred=True)
    assert config.pools["q"] == Pool(1, include_deferred=True)
