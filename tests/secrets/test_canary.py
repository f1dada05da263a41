"""A password shows nowhere, whichever way it came in and whatever a task does with it.

Each canary is a word nobody else uses, within a password as awkward as they come: what finds the word finds
every half-masked or differently quoted form of the password.
"""

import base64
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.box import Ended, RunningBox, running_box

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(300)]

DAGS = Path(__file__).parent / "dags"
WAYS = (
    *("yaml", "file", "env", "dollar", "named", "kept", "whole"),
    *("own", "written", "pem", "uri", "extra"),
)
WORDS = {way: f"cnry{way}x71" for way in WAYS}
RETURNED = "cnryreturnedx71"
"""Returned by a task, so in its XCom, as on Airflow."""
DETAILS = "__temporal_workflow_metadata"
SAMPLE_S = 0.02


def password(way: str) -> str:
    return f"""p@ss/{WORDS.get(way, way)}"'\\ü%2F {{}}$&"""


PEM = f"-----BEGIN KEY-----\n  {WORDS['pem']}AAAA\n{WORDS['pem']}BBBB==\n-----END KEY-----\n"


@dataclass
class Scene:
    """A box that was given every canary, and all that was said while tasks misused them."""

    box: RunningBox
    said: list[Ended] = field(default_factory=list)
    files: dict[str, set[str]] = field(default_factory=dict)
    """What files held while the whole configuration was in the environment."""
    commands: set[bytes] = field(default_factory=set)
    """Command lines of all processes that were seen."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("canary")
    secret = folder / "secret"
    secret.write_text(password("file") + "\n")
    configuration = folder / "appliance.yaml"
    configuration.write_text(_configuration(secret))
    named, kept = folder / "named", folder / "kept"
    named.write_text(password("named") + "\n")
    kept.write_text(f"http://me:{quote(password('kept'), safe='')}@host\n")
    environ = {
        "APPLIANCE_CONF": str(configuration),
        "CANARY_NAMED_FILE": str(named),
        "AIRFLOW_CONN_KEPT_DB_FILE": str(kept),
        "AIRFLOW_VAR_ENV_SECRET": password("env"),
        "AIRFLOW_CONN_ENV_DB": f"http://me:{quote(password('env'), safe='')}@host",
        "CANARY_DOLLAR": password("dollar"),
    }
    own = [folder / "connections.json", folder / "variables.json"]
    own[0].write_text(json.dumps({"own_db": _connection("own")}))
    own[1].write_text(json.dumps({"own_secret": password("own")}))
    words = ("--connections", str(own[0]), "--variables", str(own[1]))
    whole = {"variables": {"whole_secret": password("whole")}}
    # JSON has no $ of its own to double.
    text = json.dumps(whole).replace("$", "$$")
    given = {"APPLIANCE_CONF": "", "APPLIANCE_CONFIG": text}
    commands: set[bytes] = set()
    with (
        _watching(commands),
        running_box(dags=DAGS, folder=folder, environ=given) as box,
    ):
        first = Scene(box)
        _misuse_whole(first)
    with running_box(dags=DAGS, folder=folder, environ=environ) as box:
        scene = Scene(box, said=first.said, files=first.files, commands=commands)
        with _watching(commands):
            _misuse(scene, words)
        yield scene


def _configuration(secret: Path) -> str:
    """Return the file, JSON being YAML, but for what only YAML can say."""
    uri = f"http://me:{quote(password('uri'), safe='')}@host"
    extra = {"api_key": password("extra"), "other": 1}
    return "\n".join(
        (
            "connections:",
            f"  yaml_db: {json.dumps(_connection('yaml'))}",
            f"  uri_db: {json.dumps(uri.replace('$', '$$'))}",
            f"  json_db: {json.dumps({**_connection('extra'), 'extra': extra})}",
            "  file_db:",
            "    conn_type: http",
            f"    password: !file {secret}",
            "variables:",
            f"  yaml_secret: {json.dumps(password('yaml'))}",
            f"  pem_secret: {json.dumps(PEM)}",
            f"  returned_secret: {json.dumps(password(RETURNED))}",
            f"  file_secret: !file {secret}",
            '  dollar_secret: "${CANARY_DOLLAR}"',
            '  named_secret: "${CANARY_NAMED}"',
        )
    )


def _connection(way: str) -> dict[str, Any]:
    return {"conn_type": "http", "host": "host", "password": password(way)}


def _misuse_whole(scene: Scene) -> None:
    box = scene.box
    run = box.submit("tells_whole", "--run-id=whole", "--follow", timeout_s=100)
    assert "told ***" in run.stdout, run.stderr
    scene.said += [
        run,
        box.appliance("config", "show"),
        box.appliance("config", "check"),
        box.appliance("health"),
        box.appliance("logs", "tells_whole", "whole"),
    ]
    scene.said.append(Ended(0, box.output(), ""))
    scene.files.update(_held(box.data))


def _held(data: Path) -> dict[str, set[str]]:
    """Return the files below a folder that hold canaries, with these."""
    return {
        str(file.relative_to(data)): words
        for file in data.rglob("*")
        if file.is_file() and (words := canaries(file.read_bytes()))
    }


def _misuse(scene: Scene, words: tuple[str, ...]) -> None:
    box = scene.box
    wrote = box.submit("writes_secret", "--wait", timeout_s=100)
    assert wrote.code == 0, wrote.stderr
    run_id = "--run-id=leaks"
    run = box.submit("leaks", *words, run_id, "--follow", timeout_s=200)
    assert run.code == 1, run.stderr
    knows = box.submit("knows", "--wait", timeout_s=100)
    assert knows.code == 0, knows.stderr
    scene.said += [
        wrote,
        run,
        knows,
        box.submit("broken"),
        box.appliance("dags", "list"),
        box.appliance("dags", "errors"),
        box.appliance("config", "show"),
        box.appliance("config", "check"),
        box.appliance("health"),
        box.appliance("runs", "show", "leaks", "leaks"),
        box.appliance("logs", "leaks", "leaks"),
    ]


@contextmanager
def _watching(commands: set[bytes]) -> Iterator[None]:
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(commands, over))
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(commands: set[bytes], over: threading.Event) -> None:
    """See what ``ps`` shows of every process there is."""
    while not over.wait(SAMPLE_S):
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                commands.add(file.read_bytes())
            except OSError:
                continue


def canaries(raw: bytes | str) -> set[str]:
    """Return the words that are in there, in clear or in base64."""
    data = raw.encode() if isinstance(raw, str) else raw
    return {
        word
        for word in (*WORDS.values(), RETURNED)
        if any(form in data for form in _forms(word.encode()))
    }


def _forms(word: bytes) -> Iterator[bytes]:
    yield word
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + word)
        yield text[4 if shift else 0 : -4]


def test_the_search_finds_what_it_looks_for() -> None:
    word = WORDS["own"]
    for shift in range(3):
        assert canaries(base64.b64encode(b"x" * shift + word.encode() + b"yz")) == {
            word
        }
    assert canaries(b"nothing") == set()


def test_every_task_did_what_it_was_to(scene: Scene) -> None:
    report = scene.box.appliance("runs", "wait", "leaks", "leaks", "-o", "json").json
    states = {row["task_id"]: row["state"] for row in report["tasks"]}

    assert states == {
        **dict.fromkeys(("prints", "dumps", "labels", "returns"), "success"),
        "skips": "skipped",
        **dict.fromkeys(
            ("raises", "fails", "exits", "crashes", "retries", "renders", "waits"),
            "failed",
        ),
        "interprets": "failed",
    }
    log = scene.box.appliance("logs", "leaks", "leaks").stdout
    for line in (
        "printed ***",
        "logged ***",
        "written ***",
        "callback ***",
        "AIRFLOW_CONN_ENV_DB=***",
        "triggered ['***'",
    ):
        assert line in log
    (label,) = [
        r["rendered_map_index"] for r in report["tasks"] if r["task_id"] == "labels"
    ]
    assert "***" in label


def test_no_command_says_one(scene: Scene) -> None:
    for ended in scene.said:
        assert canaries(ended.stdout + ended.stderr) == set()


def test_the_appliance_prints_none(scene: Scene) -> None:
    assert canaries(scene.box.output()) == set()


def test_no_file_holds_one_but_that_of_the_xcom(scene: Scene) -> None:
    """The database and its log, task logs, the journal, what supervisord is told, and all there is besides."""
    found = _held(scene.box.data)

    assert scene.files == {}
    assert any(file.startswith("temporal.db") for file in found), "the XCom is there"
    for file, words in found.items():
        assert words == {RETURNED}, file
        assert file.startswith("temporal.db"), file


def test_the_ui_shows_none_but_the_xcom(scene: Scene) -> None:
    """Through the HTTP API that the UI uses: histories, memos, and the details it asks a worker for."""
    seen = list(_http_api(scene.box))

    assert len(seen) > 6
    assert {word for text in seen for word in canaries(text)} == {RETURNED}


def test_ps_shows_none(scene: Scene) -> None:
    assert len(scene.commands) > 10
    assert [command for command in scene.commands if canaries(command)] == []


def _http_api(box: RunningBox) -> Iterator[str]:
    port = box.environ["APPLIANCE_UI_PORT"]
    base = f"http://127.0.0.1:{port}/api/v1/namespaces/default"
    cookies = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))

    def ask(url: str, body: object = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        token = next((cookie.value for cookie in cookies), None) or ""
        headers = {"X-CSRF-TOKEN": token}
        request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310  # ours
        with opener.open(request, timeout=30) as answer:
            return str(answer.read().decode())

    listed = ask(f"{base}/workflows?pageSize=100")
    yield listed
    for row in json.loads(listed)["executions"]:
        one = row["execution"]
        path = f"{base}/workflows/{quote(one['workflowId'], safe='')}"
        run = f"execution.runId={one['runId']}"
        yield ask(f"{path}?{run}")
        yield ask(f"{path}/history?{run}&maximumPageSize=1000")
        query = {"execution": one, "query": {"queryType": DETAILS}}
        yield ask(f"{path}/query/{DETAILS}", query)
