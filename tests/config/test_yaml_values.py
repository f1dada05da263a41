"""Every mistake in appliance.yaml is told with its place, all of them at once."""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.config.machine_limits import Machine
from appliance.errors import ConfigError

MACHINE = Machine(cpus=2, memory_bytes=4 << 30)

CORPUS = Path(__file__).with_name("broken.txt").read_text()
ENVIRON = {
    "SECRET": "s3cret",
    "HOME": "/home/me",
    "POSTGRES_PASSWORD": "s3cret",
}


def entries() -> Iterator[tuple[str, list[str]]]:
    """Yield each file and the lines of its message."""
    for entry in CORPUS.strip().split("\n\n")[1:]:
        text, *told = re.split(r"^=> ", entry, flags=re.MULTILINE)
        yield text.removesuffix("\n"), [line.removesuffix("\n") for line in told]


BROKEN = list(entries())


def message(text: str, folder: Path) -> str:
    """Return what is told of a file."""
    file = folder / "conf" / "appliance.yaml"
    file.parent.mkdir(exist_ok=True)
    file.with_name("binary").write_bytes(b"ab\n\xff")
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(ENVIRON, cwd=folder, machine=MACHINE)
    return str(caught.value)


def test_there_are_many() -> None:
    assert len(BROKEN) >= 60


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_broken_file(tmp_path: Path, text: str, expected: list[str]) -> None:
    told = message(text, tmp_path)
    assert "s3cret" not in told
    lines = told.replace(f"{tmp_path}/conf", "{folder}").splitlines()
    assert len(lines) == len(expected)
    for line, wanted in zip(lines, expected, strict=True):
        start = f"conf/appliance.yaml{wanted.removesuffix('...')}"
        assert line.startswith(start)
        assert wanted.endswith("...") or line == start


def test_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_bytes("role: all\nvariables: {a: ü}".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load({"APPLIANCE_CONF": "box.yaml"}, cwd=tmp_path, machine=MACHINE)
    assert str(caught.value) == (
        "box.yaml: cannot be read: it is not UTF-8 text, see line 2"
    )


def test_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "conf" / "appliance.yaml").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        load({}, cwd=tmp_path, machine=MACHINE)
    assert str(caught.value) == (
        "conf/appliance.yaml: cannot be read: it is a folder (Docker makes one when "
        "what is mounted there does not exist)"
    )


def test_what_would_never_end_is_refused(tmp_path: Path) -> None:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for one, two in pairwise("abcdefgh"):
        laughs += f"{two}: &{two} [{', '.join([f'*{one}'] * 10)}]\n"
    assert "more than 100000 values" in message(
        f"variables:\n  {{}}\n{laughs}", tmp_path
    )
    assert "nested too deeply" in message("[" * 5000, tmp_path)
    assert "expected" in message(f"worker: {{max_lost: {'9' * 5000}}}", tmp_path)
    os.mkfifo(tmp_path / "conf" / "pipe")
    told = message("variables: {a: !file pipe, b: !file /dev/zero}", tmp_path)
    assert "it is a pipe" in told
    assert "'/dev/zero' is larger than 4 MB" in told


def test_all_problems_at_once_in_order(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("pols: {}\nrole: x\nconectons: {}\n")
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
