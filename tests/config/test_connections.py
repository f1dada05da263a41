"""Connections and variables in every form and file Airflow has for them."""

import json
from pathlib import Path

import pytest

from appliance.config.airflow_formats.exports import read_connections, read_variables
from appliance.config.airflow_formats.uris import from_uri
from appliance.config.model import Connection
from appliance.errors import ConfigError

WANTED = Connection(
    conn_id="c",
    conn_type="google_cloud_platform",
    host="h",
    login="me",
    password="p/w:@",  # noqa: S106
    port=5432,
    schema="db",
    extra='{"a": {"b": [1, true]}}',
)

FORMS = {
    "mapping.yaml": (
        "c: {conn_type: google_cloud_platform, host: h, login: me, password: 'p/w:@',"
        " port: 5432, schema: db, extra: {a: {b: [1, true]}}}"
    ),
    "export.json": json.dumps(
        {
            "c": {
                "conn_type": "google_cloud_platform",
                "description": None,
                "login": "me",
                "password": "p/w:@",
                "host": "h",
                "port": 5432,
                "schema": "db",
                "extra": '{"a": {"b": [1, true]}}',
            }
        },
        indent="\t",
    ),
    "dejson.yml": (
        "c:\n  conn_id: c\n  conn_type: google-cloud-platform\n  host: h\n  login: me\n"
        "  password: p/w:@\n  port: '5432'\n  schema: db\n"
        "  extra_dejson: {a: {b: [1, true]}}\n"
    ),
    "uri.env": (
        "# exported\n\n"
        "c=google-cloud-platform://me:p%2Fw%3A%40@h:5432/db?"
        "__extra__=%7B%22a%22%3A+%7B%22b%22%3A+%5B1%2C+true%5D%7D%7D\n"
    ),
    "uri.yaml": (
        "c: google_cloud_platform://me:p%2Fw%3A%40@h:5432/db?"
        "a=%7B%22b%22%3A+%5B1%2C+true%5D%7D\n"
    ),
    "nested_uri.yaml": (
        "c:\n  uri: google-cloud-platform://me:p%2Fw%3A%40@h:5432/db?"
        "a=%7B%22b%22%3A+%5B1%2C+true%5D%7D\n"
    ),
    "json_text.env": (
        'c={"conn_type": "google_cloud_platform", "host": "h", "login": "me", '
        '"password": "p/w:@", "port": "5432", "schema": "db", '
        '"extra": {"a": {"b": [1, true]}}}'
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_one_connection(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FORMS[name])
    assert read_connections(tmp_path / name) == {"c": WANTED}


def test_text_is_taken_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("c: {conn_type: http, login: on, password: 0123, schema: 12:30}")
    connection = read_connections(file)["c"]
    assert (connection.login, connection.password) == ("on", "0123")
    assert connection.schema == "12:30"


def test_characters_beyond_ascii_survive_json(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"c": {"conn_type": "http", "password": "ü😀\n"}}))
    assert read_connections(file)["c"].password == "ü😀\n"  # noqa: S105


def test_variables_as_airflow_imports_them(tmp_path: Path) -> None:
    file = tmp_path / "v.json"
    exported = {
        "text": "on",
        "number": 1.5,
        "large": 1e5,
        "nothing": None,
        "list": [1, "a"],
        "described": {"value": {"a": 1}, "description": "d"},
    }
    file.write_text(json.dumps(exported, indent=4))
    assert read_variables(file) == {
        "text": "on",
        "number": "1.5",
        "large": "100000.0",
        "nothing": "null",
        "list": '[\n  1,\n  "a"\n]',
        "described": '{\n  "a": 1\n}',
    }


def test_variables_in_yaml_and_env(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text("a: 2026-01-01\nb: 0123\nc: yes\nd: true\ne: ''\n")
    assert read_variables(tmp_path / "v.yaml") == {
        "a": "2026-01-01",
        "b": "0123",
        "c": "yes",
        "d": "true",
        "e": "",
    }
    (tmp_path / ".env").write_text("A=b=c\n# no\nB=1\n")
    assert read_variables(tmp_path / ".env") == {"A": "b=c", "B": "1"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("v.env", "a=1\nb\na=2\n", ":2:1: expected NAME=value"),
        ("v.env", "a=1\na=2\n", ":2:1: key 'a' is here twice, first in line 1"),
        ("v.json", '{"a": 1 x}', ":1:9: not JSON: "),
        ("v.json", "[1]", ":1:1: expected a mapping, not a list"),
        ("v.txt", "", ": unknown kind of file, expected one of .json, .yaml, .yml"),
        ("v.yaml", None, ": cannot be read: No such file or directory"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_variables(file)
    assert str(caught.value).startswith(f"{file}{message}")


URIS = [
    "postgres://user:pass@host:5432/db",
    "postgresql://user:pass@host/db?sslmode=require",
    "google-cloud-platform://?project=p&num_retries=5",
    "google-cloud-platform://?__extra__=%7B%22a%22%3A+1%7D",
    "http://https://example.com:8080",
    "http://https://example.com:8080/base?x=1",
    "http://http://example.com",
    "http://user:p%40ss%2F%25@Example.COM",
    "mysql://u@h",
    "mysql://:p@h",
    "mysql://u:@h:1",
    "sqlite:///tmp%2Fa.db",
    "sqlite://%2Ftmp%2FA%2Fb.db",
    "fs://",
    "aws://AKIA:se%2Fcret@/?region_name=eu-west-1&role=a%3Ab",
    "x://h/a%2Fb/c?k=%5B1%5D&k2=&k3=text&k3=last",
    "//h:1/s",
    "wasb-ext://h?a=true&b=null&c=%7B%22d%22%3A1%7D",
    "ssh://[::1]:22",
    "HTTP://Host",
    "x://user%20name:pw%3F@h%20ost/s%20",
]


@pytest.mark.needs_airflow
@pytest.mark.parametrize("uri", URIS)
def test_uris_are_read_as_airflow_reads_them(uri: str) -> None:
    from airflow.models.connection import Connection as Theirs

    theirs = Theirs(conn_id="c", uri=uri)
    ours = from_uri("c", uri)
    for field in ("conn_type", "host", "schema", "login", "password", "port", "extra"):
        assert getattr(ours, field) == getattr(theirs, field), field


@pytest.mark.needs_airflow
@pytest.mark.parametrize("uri", ["a://b://c://d", "a://u:p@h/?x=b://c", "a://h:x", "x"])
def test_uris_airflow_refuses_are_refused(uri: str) -> None:
    """But for "x", which Airflow takes for a connection without a type."""
    with pytest.raises(ValueError, match=r"^(it|its|a) "):
        from_uri("c", uri)
