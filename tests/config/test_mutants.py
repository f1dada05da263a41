"""Whatever a file is mutated to, it is read or its mistakes are told: no traceback, no secret, no hang."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.config.load import load
from appliance.config.machine_limits import Machine
from appliance.errors import ConfigError
from tests.config.test_yaml_values import BROKEN

MACHINE = Machine(cpus=2, memory_bytes=4 << 30)
CANARY = "c4nary"
ENVIRON = {"SECRET": CANARY, "SECRET_URI": f"http://me:{CANARY}@h", "N": "7"}
WHOLE = f"""\
# everything at once
connections:
  a: http://me:{CANARY}@h:80/s?__extra__=%7B%22k%22%3A+1%7D
  b: {{conn_type: http, host: h, login: me, password: "{CANARY}", port: 80}}
  c:
    conn_type: aws
    password: '{CANARY}'
    extra: {{key: "{CANARY}", more: [1, 2.5, true, null]}}
  d: '{{"conn_type": "http", "password": "{CANARY}"}}'
  e: ${{SECRET_URI}}
  f: !env SECRET_URI
  g: {{conn_type: x, password: !file pw, extra: '{{"k": "{CANARY}"}}'}}
variables:
  text: ${{SECRET}} and ${{NOT_SET:-not}}
  block: |
    {CANARY}
    more
  value: {{value: "{CANARY}", description: d}}
role: all
retention: 30d
worker: &w {{parallelism: "${{N}}", grace: 5s, on_lost: retry, max_lost: 3}}
dags: {{folder: ../dags, plugins: /p, max_age: 2m}}
temporal: {{namespace: n, ip: 127.0.0.1, port: 7233, ui_port: 8233}}
"""
PIECES = [
    *list("{}[]:,'\"!&*#|>%@`?-$~\\ \t\n\r\0\x07\ufeffü😀"),
    *("  ", "\n  ", ": ", "- ", "<<: *w", "*w", "!env ", "!file ", "!!int ", "${"),
    *("${N}", "null", "true", "1e5", "9" * 30, "-1", "---", "...", "%YAML 9", "\ud800"),
]
LINE = re.compile(r"(appliance\.yaml:\d+:\d+|[A-Z_]+|appliance\.yaml): \S.*")


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Draw a file with a few places cut out, doubled or overwritten."""
    text = draw(st.sampled_from([WHOLE, WHOLE, *(text for text, _ in BROKEN)]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 5, 20, 80])))
        piece = draw(st.sampled_from([*PIECES, "", text[start:end] * 2]))
        text = text[:start] + piece + text[end:]
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mutants")
    (path / "pw").write_text(CANARY)
    return path


@settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=mutants())
def test_a_mutant_is_read_or_told_of(folder: Path, text: str) -> None:
    file = folder / "appliance.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    environ = {**ENVIRON, "APPLIANCE_CONF": str(file)}
    try:
        config = load(environ, cwd=folder, machine=MACHINE)
    except ConfigError as err:
        told = str(err)
        assert all(LINE.fullmatch(line) for line in told.splitlines()), told
        assert told
        # A secret that lost a piece of itself, or its place, is still one.
        assert not re.search(r"c4n|4nary", told), told
    else:
        assert "c4nary" not in repr(config)
