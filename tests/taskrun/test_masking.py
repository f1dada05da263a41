"""What is hidden, and what is not: Airflow's own rules."""

import json
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest

from appliance.config.model import Connection
from appliance.taskrun.masking import Masker

PASSWORD = "p@ss/w0rd"  # noqa: S105 - made up


def test_a_connection_is_hidden_wherever_its_parts_appear() -> None:
    masker = Masker()
    masker.add_connection(
        Connection("db", password=PASSWORD, extra='{"api_key": "abcdefgh", "n": 1}')
    )

    assert masker.hide(f"user:{PASSWORD}@db") == "user:***@db"
    assert masker.hide("mysql://u:p%40ss%2Fw0rd@db") == "mysql://u:***@db"
    assert masker.hide("key abcdefgh") == "key ***"
    assert masker.hide('{"api_key": "abcdefgh", "n": 1}') == "***"


AWKWARD = "p@ss\"w'0r\\d ü"


@pytest.mark.parametrize(
    "text",
    [
        AWKWARD,
        repr(AWKWARD),
        repr(ValueError([AWKWARD])),
        repr(ValueError(repr([AWKWARD]))),
        json.dumps({"a": AWKWARD}),
        json.dumps({"a": AWKWARD}, ensure_ascii=False),
        json.dumps(json.dumps({"a": AWKWARD})),
        f"http://{quote(AWKWARD, safe='')}@host",
        f"?extra={quote_plus(json.dumps({'a': AWKWARD}))}",
    ],
)
def test_a_secret_is_hidden_however_it_is_quoted(text: str) -> None:
    masker = Masker()
    masker.add(AWKWARD)

    assert "w'0r" not in masker.hide(text)
    assert "0r" not in masker.hide(text)


def test_each_line_of_a_secret_is_hidden_by_itself() -> None:
    """Output is masked line by line, and a traceback shows them all in one."""
    masker = Masker()
    masker.add({"private_key": "-----BEGIN-----\n  MIIBVgIBADAN\n{\n-----END-----\n"})

    assert masker.hide("  MIIBVgIBADAN") == "  ***"
    assert "MII" not in masker.hide(repr({"k": "-----BEGIN-----\n  MIIBVgIBADAN\n"}))
    assert masker.hide("{") == "{"


@pytest.mark.parametrize(
    ("name", "shown"), [("db_password", "***"), ("color", "crimson"), (None, "***")]
)
def test_a_named_secret_is_hidden_when_its_name_is_sensitive(
    name: str | None, shown: str
) -> None:
    masker = Masker()
    masker.add("crimson", name)

    assert masker.hide("crimson") == shown


def test_short_values_are_not_hidden_unless_configured() -> None:
    """Hiding "1" everywhere would make a log unreadable; so Airflow does not below 5 characters."""
    usual, strict = (
        Masker(),
        Masker({"AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET": "2"}),
    )
    for masker in (usual, strict):
        masker.add("abc")

    assert (usual.hide("abc"), strict.hide("abc")) == ("abc", "***")


def test_more_sensitive_names_can_be_configured() -> None:
    masker = Masker({"AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "iban, pin"})
    masker.add("DE02120300000000202051", "customer_iban")

    assert masker.hide("to DE02120300000000202051") == "to ***"


def test_sensitive_keys_and_deep_strings_are_hidden_in_structures() -> None:
    masker = Masker()
    masker.add("hunter22")
    deep: object = "hunter22"
    for _ in range(12):
        deep = [deep]

    assert masker.hide({"token": "x", "kept": 1}) == {"token": "***", "kept": 1}
    assert "hunter22" not in str(masker.hide(deep))


def test_a_printed_environment_shows_no_secret_that_airflow_takes_from_it() -> None:
    env = {
        "AIRFLOW_CONN_DB": "postgres://airflow:airflow@host/db",
        "AIRFLOW_VAR_API_KEY": "abcdefgh",
        "AIRFLOW_VAR_COLOR": "crimson",
        "AIRFLOW__SMTP__SMTP_PASSWORD": "hunter22",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    }
    hidden = Masker(env).hide(repr(env))

    for secret in ("postgres:", "abcdefgh", "hunter22"):
        assert secret not in hidden
    for word in ("crimson", "LocalExecutor", "AIRFLOW_CONN_DB"):
        assert word in hidden
    assert Masker(env).hide("of airflow") == "of airflow"
    assert Masker(env).known == frozenset()


def test_maskers_do_not_share_secrets() -> None:
    """The tries of a worker run side by side in one process."""
    one, other = Masker(), Masker()
    one.add("hunter22")

    assert other.hide("hunter22") == "hunter22"


def test_masking_does_not_import_airflow() -> None:
    """Importing it takes seconds and starts what a worker must not have."""
    code = (
        "import sys; from appliance.taskrun.masking import Masker; Masker();"
        "sys.exit('airflow' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_option_that_airflow_calls_sensitive_is_hidden() -> None:
    """Also those whose names do not say so, such as ``fernet_key``."""
    ask = (
        "from airflow.configuration import conf\n"
        "from airflow.sdk._shared.configuration import parser\n"
        "parts = [('secrets', 'backend_kwargs'), ('workers', 'secrets_backend_kwargs')]\n"
        "print(*(f'AIRFLOW__{s}__{k}'.upper() for s, k in conf.sensitive_config_values),\n"
        "      *(parser._build_kwarg_env_prefix(*one) + 'ROLE_ID' for one in parts))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True
    )
    names = done.stdout.splitlines()[-1].split()
    masker = Masker({name: f"<{name}>" for name in names})

    assert "AIRFLOW__CORE__FERNET_KEY" in names
    assert [name for name in names if masker.hide(f"<{name}>") != "***"] == []
