"""What is wrong with a configuration is told without the passwords in it."""

from pathlib import Path

import pytest

from appliance.config.airflow_formats.exports import read_connections, read_variables
from appliance.config.load import load
from appliance.errors import ConfigError

CANARY = "hunter2canary"
BROKEN = {
    "a list": "connections: {db: {conn_type: http, password: [CANARY]}}",
    "a mapping": "connections: {db: {conn_type: http, password: {a: CANARY}}}",
    "a misspelt key": "connections: {db: {conn_type: http, pasword: CANARY}}",
    "a number for a connection": "connections: {db: [CANARY, CANARY]}",
    "a URI with a bad port": "connections: {db: 'http://me:CANARY@host:port/x'}",
    "a URI with two @": "connections: {db: 'http://me:CANARY@x@host:99999999'}",
    "no URI": "connections: {db: CANARY}",
    "an extra that is no JSON": "connections: {db: {conn_type: http, extra: '{CANARY'}}",
    "an extra that is a list": "connections: {db: {conn_type: http, extra: [CANARY]}}",
    "an extra in the URI": "connections: {db: 'http://h/?__extra__=%5B%22CANARY%22%5D'}",
    "JSON that is none": "connections: {db: '{\"password\": CANARY}'}",
    "both ways": "connections: {db: {uri: 'http://me:CANARY@h', host: h}}",
    "an id that cannot be": "connections: {'a b': 'http://me:CANARY@h'}",
    "a key twice": "variables: {secret: CANARY, secret: CANARY}",
    "YAML that is none": "variables:\n  secret: 'CANARY\n  other: [",
    "a tab": "variables:\n\tsecret: CANARY",
    "a colon": "variables:\n  secret: CANARY: x",
    "an unquoted @": "variables:\n  secret: @CANARY",
    "a percent": "variables:\n  secret: %CANARY",
    "a broken reference": "variables: {secret: 'CANARY-${'}",
    "a reference to nothing": "variables: {secret: 'CANARY-${NOT_SET}'}",
    "a list of variables": "variables: [CANARY]",
    "text for variables": "variables: CANARY",
    "another key": "variables: {secret: CANARY}\nwroker: {}",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_told_of_without_its_secrets(
    tmp_path: Path, what: str
) -> None:
    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf" / "appliance.yaml"
    file.write_text(BROKEN[what].replace("CANARY", CANARY))

    with pytest.raises(ConfigError) as refused:
        load({}, cwd=tmp_path)

    assert "appliance.yaml" in str(refused.value)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIRFLOW_CONN_DB", f"http://me:{CANARY}@host:port"),
        ("AIRFLOW_CONN_DB", '{"password": "' + CANARY),
        ("APPLIANCE_CONFIG", f"variables: {{secret: [{CANARY}"),
    ],
)
def test_a_broken_environment_is_told_of_without_its_secrets(
    tmp_path: Path, name: str, value: str
) -> None:
    try:
        told = "\n".join(load({name: value}, cwd=tmp_path).warnings)
    except ConfigError as err:
        told = str(err)

    assert CANARY not in told


@pytest.mark.parametrize("text", [f'{{"a": {CANARY}}}', f'["{CANARY}"]', f'"{CANARY}"'])
def test_a_broken_file_of_a_submission_is_told_of_without_its_secrets(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(text)

    for read in (read_connections, read_variables):
        with pytest.raises(ConfigError) as refused:
            read(file)
        assert CANARY not in str(refused.value)
