"""What DAG files and tasks say cannot steer the terminal it is shown on."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from appliance.terminal import ShownBytes, shown
from tests.box import RunningBox, running_box

TITLE, CLIPBOARD, CLEAR = "\x1b]0;evil\x07", "\x1b]52;c;ZXZpbA==\x07", "\x1b[2J\x1b[31m"
C1, BIDI = "\x9b2J", "\u202eevil"
HOSTILE = TITLE + CLIPBOARD + CLEAR + C1 + BIDI + "\r\b\x7f"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
OURS = re.compile(r"\x1b\[(?:3[1-6]|0)m")
"""The colours of states."""

DAG = f"""
import os
from airflow.sdk import DAG, Param, task

EVIL = {HOSTILE!r}
print("parse", EVIL, flush=True)
os.write(2, b"raw \\x1b]0;evil\\x07\\xc2\\x9b \\x9b \\xe2\\x80\\xae")

with DAG("hostile", description=EVIL, tags=[EVIL], params={{"p": Param(EVIL)}}):

    @task
    def says():
        print("says", EVIL)
        os.system("printf 'shell \\\\033]0;evil\\\\007'")
        return EVIL

    @task
    def fails(value):
        raise ValueError(EVIL)

    fails(says())
"""

COMMANDS = (
    ("dags", "list"),
    ("dags", "show", "hostile"),
    ("dags", "errors"),
    ("runs", "list", "hostile"),
    ("runs", "wait", "hostile", "one"),
    ("logs", "hostile", "one"),
    ("xcoms", "hostile", "one"),
    ("runs", "list", TITLE),
    ("dags", "show", TITLE),
    ("config", "show"),
    ("health",),
)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (
            "plain\ttext\n\u00e4\u4e2d\U0001f600\r\n",
            "plain\ttext\n\u00e4\u4e2d\U0001f600\r\n",
        ),
        (TITLE, "\\u001b]0;evil\\u0007"),
        (C1 + BIDI, "\\u009b2J\\u202eevil"),
        ("over\rwritten\b\x7f\x00", "over\\u000dwritten\\u0008\\u007f\\u0000"),
        ("name \udc9b", "name \\udc9b"),
    ],
)
def test_controls_are_shown_as_json_has_them(text: str, seen: str) -> None:
    assert shown(text) == seen
    assert shown(seen) == seen


def test_json_that_is_shown_has_its_value_still() -> None:
    text = json.dumps({"value": HOSTILE}, ensure_ascii=False)
    assert RAW.search(text)
    assert not RAW.search(shown(text))
    assert json.loads(shown(text)) == {"value": HOSTILE}


def test_bytes_are_shown_the_same_however_they_are_cut() -> None:
    whole = (HOSTILE + "\u00e4\n").encode() + b"\x9b\xff\n"
    expected = ShownBytes()(whole)
    for size in (1, 2, 3):
        passing = ShownBytes()
        cut = [whole[i : i + size] for i in range(0, len(whole), size)]
        assert b"".join(map(passing, cut)) == expected
    assert not RAW.search(expected.decode())


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("terminal")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "hostile.py").write_text(DAG)
    (dags / f"broken{TITLE.replace('/', '')}.py").write_text(
        f"from airflow.sdk import DAG\nraise ValueError({HOSTILE!r})\n"
    )
    (dags / "syntax.py").write_text(
        f"from airflow.sdk import DAG\nx = = '{C1}{BIDI}'\n"
    )
    with running_box(dags=dags, folder=folder) as started:
        done = started.submit("hostile", "--run-id", "one", "--wait", "--follow")
        assert done.code == 1, done.stderr
        assert not RAW.search(done.stdout + done.stderr)
        yield started


def on_a_terminal(box: RunningBox, words: tuple[str, ...]) -> str:
    """Return what a command writes to a terminal; line ends are as the command wrote them."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", *words],
        env=dict(box.environ),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        text = b""
        try:
            while block := os.read(ours, 65536):
                text += block
        except OSError:
            pass  # So a terminal ends.
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


@pytest.mark.needs_server
@pytest.mark.timeout(180)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_passes_a_control_on(
    box: RunningBox, words: tuple[str, ...]
) -> None:
    piped = box.appliance(*words)
    typed = on_a_terminal(box, words)
    assert not RAW.search(piped.stdout + piped.stderr)
    assert not RAW.search(OURS.sub("", typed))
    assert "Traceback (most recent call last):\n  File" not in piped.stderr


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_a_terminal_has_our_colours_and_shows_the_rest(box: RunningBox) -> None:
    waited = on_a_terminal(box, ("runs", "wait", "hostile", "one"))
    assert "\x1b[31mfailed" in waited
    logged = on_a_terminal(box, ("logs", "hostile", "one"))
    assert "says \\u001b]0;evil\\u0007" in logged
    assert "\\u001b[2J\\u001b[31m\\u009b2J\\u202eevil" in logged


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_json_has_the_value_as_the_task_returned_it(box: RunningBox) -> None:
    done = box.appliance("xcoms", "hostile", "one", "-o", "json")
    assert not RAW.search(done.stdout)
    assert [row["value"] for row in done.json if row["task_id"] == "says"] == [HOSTILE]


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_the_output_of_the_box_has_none(box: RunningBox) -> None:
    said = box.output()
    assert "says \\u001b]0;evil\\u0007" in said
    assert not RAW.search(said)
