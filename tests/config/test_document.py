"""Every mistake in appliance.yaml is told with its place, all of them at once."""

from pathlib import Path

import pytest

from appliance.config.limits import Machine
from appliance.config.load import load
from appliance.errors import ConfigError

MACHINE = Machine(cpus=2, memory_bytes=4 << 30)

BAD = [
    ("conectons: {}", ":1:1: unknown key 'conectons', did you mean 'connections'?"),
    ("role: all\nrole: all", ":2:1: key 'role' is here twice, first in line 1"),
    (
        "role: al",
        ":1:7: role: expected one of all, server, worker, not 'al', did you mean all?",
    ),
    ("role: [all]", ":1:7: role: expected one of all, server, worker, not a list"),
    ("pools: {}", ":1:1: 'pools' is not supported yet by this version"),
    ("schedules: {}", ":1:1: 'schedules' is not supported yet by this version"),
    (
        "retention: 30",
        ":1:12: retention: expected a duration with its unit, such as 30s, 5m, 12h or "
        "30d, not '30'",
    ),
    ("retention: 5m", ":1:12: retention: expected at least 1h, not '5m'"),
    ("worker: 3", ":1:9: worker: expected a mapping, not '3'"),
    (
        "worker:\n  parallelsm: 3",
        ":2:3: unknown key 'parallelsm' in worker, did you mean 'parallelism'?",
    ),
    (
        "dags: {zzz: 1}",
        ":1:8: unknown key 'zzz' in dags, expected one of folder, max_age, plugins",
    ),
    (
        "worker: {parallelism: 0}",
        ":1:23: worker.parallelism: expected a whole number from 1 to 1000, not '0'",
    ),
    (
        "worker: {max_lost: true}",
        ":1:20: worker.max_lost: expected a whole number from 0 to 1000000, not 'true'",
    ),
    (
        "temporal: {port: 70000}",
        ":1:18: temporal.port: expected a whole number from 1 to 65535, not '70000'",
    ),
    ("a: [", ":1:5: not YAML: a bracket or brace opened above is never closed"),
    ("- a", ":1:1: expected a mapping, not a list"),
    ("a: 1\n---\nb: 2", ":2:1: not YAML: only one document is read; remove this '---'"),
    ("variables: &v\n  a: *v", ":1:12: an alias refers to what contains it"),
    ("variables: {a: !env NOPE}", ":1:16: environment variable 'NOPE' is not set"),
    (
        "variables: {a: !file nope}",
        ":1:16: file '{folder}/nope' cannot be read: No such file or directory",
    ),
    (
        "variables:\n  a: $HOME",
        ":2:6: $HOME is not replaced here: write ${HOME}, or quote it when it is "
        "meant as text",
    ),
    (
        "variables: {a: !x y}",
        ":1:16: unknown tag, expected !env or !file; quote a value with a ! first",
    ),
    ("variables: {[a]: y}", ":1:13: a key must be text"),
    ("variables: [a]", ":1:12: variables: expected a mapping, not a list"),
    ("variables:\n  <<: 3", ":2:7: '<<' needs a mapping"),
    (
        "connections: {a b: 'http://x'}",
        ":1:15: 'a b' cannot be a connection id: up to 250 letters, digits and "
        "#!()-_.:/\\",
    ),
    (
        "connections: {a: 3}",
        ":1:18: connections.a: expected a URI or a mapping, not what is written here",
    ),
    (
        "connections: {a: localhost}",
        ":1:18: connections.a: not a connection URI: it does not start with type://",
    ),
    (
        "connections: {a: 'x://u:pa/ss@h'}",
        ":1:18: connections.a: not a connection URI: its host or port cannot be read; "
        "special characters in the login or password must be percent-encoded (/ is "
        "%2F, @ is %40)",
    ),
    (
        "connections: {a: 'x://h?__extra__=3'}",
        ":1:18: connections.a: __extra__ in the URI is not a JSON object",
    ),
    (
        "connections: {a: {hst: x}}",
        ":1:19: unknown key 'hst' in connections.a, did you mean 'host'?",
    ),
    (
        "connections: {a: {port: x}}",
        ":1:25: connections.a.port: expected a whole number from 0 to 65535, not what "
        "is written here",
    ),
    (
        "connections: {a: {password: [x]}}",
        ":1:29: connections.a.password: expected text, not a list",
    ),
    (
        "connections: {a: {extra: 'no json'}}",
        ":1:26: connections.a.extra: expected a mapping or the text of a JSON object, "
        "not what is written here",
    ),
    (
        "connections: {a: {extra: {}, extra_dejson: {}}}",
        ":1:30: connections.a: give either extra or extra_dejson, not both",
    ),
    (
        "connections: {a: {uri: 'x://h', host: y}}",
        ":1:19: connections.a: give either uri or its parts, not both",
    ),
    (
        "connections: {a: {conn_id: b}}",
        ":1:28: connections.a: conn_id is another one, remove it",
    ),
    (
        "connections: {a: '{\"host\": '}",
        ":1:18: connections.a: not JSON: Expecting value",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "conf" / "appliance.yaml"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load({}, cwd=tmp_path, machine=MACHINE)
    expected = message.replace("{folder}", str(file.parent))
    assert str(caught.value) == f"conf/appliance.yaml{expected}"


def test_all_problems_at_once_in_order(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("pools: {}\nrole: x\nconectons: {}\n")
    environ = {"APPLIANCE_CONF": "box.yaml", "APPLIANCE_PORT": "x"}
    with pytest.raises(ConfigError) as caught:
        load(environ, cwd=tmp_path, machine=MACHINE)
    places = [line.split(": ", 1)[0] for line in str(caught.value).splitlines()]
    assert places == ["box.yaml:1:1", "box.yaml:2:7", "box.yaml:3:1", "APPLIANCE_PORT"]


def test_no_problem_repeats_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(
        "connections:\n"
        "  a: 'x://u:canary/@h'\n"
        "  b: canary\n"
        "  c: {extra: canary}\n"
        "  d: [canary, canary]\n"
        "  e: '{canary'\n"
    )
    with pytest.raises(ConfigError) as caught:
        load({"APPLIANCE_CONF": "box.yaml"}, cwd=tmp_path, machine=MACHINE)
    assert len(str(caught.value).splitlines()) == 5
    assert "canary" not in str(caught.value)
