"""Who reaches the UI: people on its own names, and no web page of another site; in a real Chromium, too."""

import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from appliance.boot.ui_hosts import refusal
from tests.box import RunningBox, ports
from tests.chromium import Page, page
from tests.conftest import ROOT
from tests.faults.processes import family, is_alive, the_one, until

GUARD = "appliance.boot.ui_guard"
SERVER = "temporal server start-dev"
EVIL = "evil.example.com"
OWN = "ui.example.com"
EVIL_IP = "127.0.0.9"
API = "/api/v1/namespaces/default"
READ = "namespaceInfo"


@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({"host": "localhost:8233"}, True),
        ({"host": "LocalHost"}, True),
        ({"host": "127.0.0.1:8233"}, True),
        ({"host": "192.168.1.5"}, True),
        ({"host": "[::1]:8233"}, True),
        ({"host": "ui.example.com:443"}, True),
        ({}, False),
        ({"host": ""}, False),
        ({"host": "evil.example.com:8233"}, False),
        ({"host": "localhost.evil.example.com"}, False),
        ({"host": "evil.example.com@localhost"}, False),
        ({"host": "localhost:8233, evil.example.com"}, False),
        ({"host": "127.0.0.1.nip.io"}, False),
        ({"host": "x.ui.example.com"}, False),
        ({"host": "127.1"}, False),
        ({"host": "[localhost]"}, False),
        ({"host": "a", "origin": "http://a"}, False),
        ({"host": "localhost:8233", "origin": "http://localhost:8233"}, True),
        ({"host": "localhost:8233", "origin": "http://localhost:3000"}, False),
        ({"host": "localhost:8233", "origin": "http://6.6.6.6:8233"}, False),
        ({"host": "localhost:8233", "origin": "http://evil.example.com"}, False),
        ({"host": "localhost:8233", "origin": "null"}, False),
        ({"host": "localhost:8233", "origin": "file://localhost:8233"}, False),
        ({"host": "127.0.0.1:8233", "origin": "https://ui.example.com"}, True),
        ({"host": "localhost", "sec-fetch-site": "same-origin"}, True),
        ({"host": "localhost", "sec-fetch-site": "none"}, True),
        ({"host": "localhost", "sec-fetch-site": "cross-site"}, False),
        ({"host": "localhost", "sec-fetch-site": "same-site"}, False),
    ],
)
def test_own_names_and_own_pages_are_let_in(
    headers: dict[str, str], is_let_in: bool
) -> None:
    assert (refusal("GET", headers, {"ui.example.com"}) is None) is is_let_in


def test_a_link_on_a_page_of_another_site_may_be_followed() -> None:
    link = {"host": "localhost", "sec-fetch-site": "cross-site"}
    link["sec-fetch-dest"] = "document"
    assert refusal("GET", link, ()) is None
    assert refusal("POST", link, ())


def test_what_is_refused_says_what_to_set() -> None:
    said = refusal("GET", {"host": "ui.example.com:8233"}, ())
    assert said is not None
    assert "'ui.example.com:8233'" in said
    assert "temporal.ui_hosts: ui.example.com" in said
    assert "APPLIANCE_UI_HOSTS=ui.example.com" in said


def ui_port(box: RunningBox) -> int:
    return int(box.environ["APPLIANCE_UI_PORT"])


def behind(box: RunningBox) -> tuple[str, int]:
    """Return where Temporal's own UI listens."""
    command = family(box.process.pid)[the_one(box.process.pid, GUARD)]
    ip, _, port = command.split()[-1].rpartition(":")
    return ip, int(port)


def ask(
    where: tuple[str, int], method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection(*where, timeout=20)) as connection:
        # The UI answers a request that it refuses without reading all of it.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body or None, named)
        answer = connection.getresponse()
        return answer.status, answer.read()


def order(run_id: str) -> str:
    """Return the body of a request that starts a run."""
    words = json.dumps({"dag_id": "my_dag", "run_id": run_id}).encode()
    encoded = {"metadata": {"encoding": b64(b"json/plain")}, "data": b64(words)}
    return json.dumps(
        {
            "workflowType": {"name": "ExecuteAirflowDagWorkflow"},
            "taskQueue": {"name": "airflow-tasks"},
            "input": {"payloads": [encoded]},
        }
    )


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def attack(run_id: str) -> str:
    """Return what a page does that has come near the UI: read, and start a run."""
    return f"""(async () => {{
      const read = await fetch('{API}');
      const body = await read.text();
      const token = (document.cookie.match(/_csrf=([0-9a-f]+)/) || [])[1] || '';
      const start = await fetch('{API}/workflows/dag-my_dag-{run_id}', {{
        method: 'POST',
        headers: {{'X-CSRF-Token': token, 'Content-Type': 'application/json'}},
        body: {json.dumps(order(run_id))},
      }});
      return {{read: read.status, body, start: start.status}};
    }})()"""


def runs(box: RunningBox) -> list[str]:
    done = box.appliance("runs", "list", "my_dag", "-o", "json")
    assert done.code == 0, done.stderr
    return [row["run_id"] for row in done.json]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page(tmp_path_factory.mktemp("chromium"), names={EVIL: EVIL_IP}) as opened:
        yield opened


class Rebound(socketserver.ThreadingTCPServer):
    """What the attacker's name stands for: his page at first, then whatever ``now`` says, as if the name were changed."""

    allow_reuse_address = True
    daemon_threads = True
    now: tuple[str, int] | None = None


class Connection(socketserver.BaseRequestHandler):
    """A connection to the attacker's name."""

    server: Rebound

    def handle(self) -> None:
        """Give the page, or pass on everything.

        The request is awaited first: a browser opens connections before it needs them.
        """
        asked = self.request.recv(65536)
        if self.server.now is None:
            head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
            self.request.sendall(f"{head}\r\n<p id=evil>Cats!".encode())
            return
        with socket.create_connection(self.server.now) as other:
            other.sendall(asked)
            threading.Thread(
                target=passed, args=(self.request, other), daemon=True
            ).start()
            passed(other, self.request)


def passed(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def rebound(port: int) -> Iterator[Rebound]:
    with Rebound((EVIL_IP, port), Connection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_a_rebound_page_reads_nothing_and_starts_nothing(
    box: RunningBox, chromium: Page
) -> None:
    """The same page does both when its name leads to the UI itself, which no name can."""
    came_of_it = {}
    with rebound(ui_port(box)) as name:
        chromium.open(f"http://{EVIL}:{ui_port(box)}/")
        chromium.wait_for("!!document.getElementById('evil')")
        for run_id, where in (
            ("rebound", ("127.0.0.1", ui_port(box))),
            ("let-in", behind(box)),
        ):
            name.now = where
            came_of_it[run_id] = chromium.run(attack(run_id))

    assert came_of_it["let-in"]["start"] == 200
    assert READ in came_of_it["let-in"]["body"]
    refused = came_of_it["rebound"]
    assert (refused["read"], refused["start"]) == (403, 403)
    assert READ not in refused["body"]
    until("the run let in is known", lambda: "let-in" in runs(box))
    assert "rebound" not in runs(box)


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_the_ui_works_in_a_browser_on_this_machine(
    box: RunningBox, chromium: Page
) -> None:
    done = box.submit("my_dag", "--run-id", "seen", "--wait")
    assert done.code == 0, done.stderr

    chromium.open(f"http://localhost:{ui_port(box)}/namespaces/default/workflows")
    chromium.wait_for("document.body?.innerText.includes('dag-my_dag-seen')")
    did = chromium.run(attack("by-hand"))

    assert (did["read"], did["start"]) == (200, 200)
    until("the run is known", lambda: "by-hand" in runs(box))


@pytest.mark.needs_server
@pytest.mark.timeout(120)
def test_no_port_of_the_server_answers_a_foreign_name(box: RunningBox) -> None:
    pids = [the_one(box.process.pid, what) for what in (SERVER, GUARD)]
    found = {where for pid in pids for where in listening(pid)}
    assert ("127.0.0.1", ui_port(box)) in found
    assert behind(box) in found
    answers = {}
    for where in found - {behind(box)}:
        with suppress(OSError, http.client.HTTPException):
            answers[where] = ask(where, "GET", API, Host=f"{EVIL}:{where[1]}")

    # Besides: the metrics, which have no such page, and the ports that speak gRPC alone.
    assert {status for status, _ in answers.values()} == {403, 404}
    assert [body for _, body in answers.values() if READ.encode() in body] == []
    assert behind(box)[0].startswith("127.")
    assert not behind(box)[0].startswith("127.0.")


def listening(pid: int) -> Iterator[tuple[str, int]]:
    """Yield where a process listens, by IPv4."""
    own = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            own.add(str(fd.readlink()))
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in own:
            ip, port = words[1].split(":")
            yield socket.inet_ntoa(bytes.fromhex(ip)[::-1]), int(port, 16)


@pytest.mark.needs_server
@pytest.mark.timeout(120)
def test_what_is_let_in_and_what_comes_back_is_unchanged(box: RunningBox) -> None:
    guard, ui = ("127.0.0.1", ui_port(box)), behind(box)
    _, home = ask(guard, "GET", "/")
    scripts = re.findall(r'"(/_app/[^"]+\.js)"', home.decode())
    assert len(scripts) > 1
    for path in scripts:
        for coding in ("identity", "gzip"):
            asked = [
                ask(where, "GET", path, Accept_Encoding=coding) for where in (guard, ui)
            ]
            assert asked[0] == asked[1]
    large = b"x" * 3_000_000
    for method, body in (("HEAD", b""), ("POST", large), ("GET", large)):
        path = f"{API}/workflows/x"
        assert ask(guard, method, path, body) == ask(ui, method, path, body)


@pytest.mark.needs_server
@pytest.mark.timeout(120)
def test_a_guard_that_hangs_is_named_and_one_that_died_comes_back(
    box: RunningBox,
) -> None:
    pid = the_one(box.process.pid, GUARD)
    os.kill(pid, signal.SIGSTOP)
    told = box.appliance("health")
    os.kill(pid, signal.SIGKILL)
    assert told.code == 3
    assert "ui        NOT OK: it does not answer: timed out" in told.stdout
    until("the guard is gone", lambda: not is_alive(pid))
    until("health is well again", lambda: box.appliance("health").code == 0)
    assert the_one(box.process.pid, GUARD) != pid


def test_without_a_ui_behind_it_the_guard_says_so(tmp_path: Path) -> None:
    with guard(tmp_path, ("127.0.0.1", 1)) as port:
        status, body = ask(("127.0.0.1", port), "GET", "/")
        assert (status, b"It is not up" in body) == (503, True)
        assert ask(("127.0.0.1", port), "HEAD", "/") == (503, b"")
        assert ask(("127.0.0.1", port), "GET", "http://example.com/")[0] == 403
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"no such thing\r\n\r\n")
            assert client.makefile("rb").readline().startswith(b"HTTP/1.1 400")


@contextmanager
def guard(folder: Path, ui: tuple[str, int], *names: str) -> Iterator[int]:
    """Start another guard; yield its port."""
    port = int(ports()["APPLIANCE_UI_PORT"])
    command = [sys.executable, "-I", "-m", GUARD, f"127.0.0.1:{port}"]
    process = subprocess.Popen([*command, f"{ui[0]}:{ui[1]}", *names])
    try:
        until("it listens", lambda: is_open(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def is_open(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


@contextmanager
def nginx(folder: Path, guard_port: int) -> Iterator[int]:
    """Run the example of SECURITY.md as it stands there, but for files and ports; yield its port."""
    text = (ROOT / "docs" / "SECURITY.md").read_text()
    (example,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    port = int(ports()["APPLIANCE_PORT"])
    files = {
        "/etc/ssl/ui": f"{folder}/ui",
        "/etc/nginx/users": f"{folder}/users",
        "127.0.0.1:8233": f"127.0.0.1:{guard_port}",
        "listen 443": f"listen {port}",
    }
    for written, meant in files.items():
        assert written in example
        example = example.replace(written, meant)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={OWN}"),
            *("-keyout", f"{folder}/ui.key", "-out", f"{folder}/ui.pem"),
        ],
        check=True,
        capture_output=True,
    )
    word = subprocess.check_output(["openssl", "passwd", "-apr1", "sesame"], text=True)
    (folder / "users").write_text(f"me:{word}")
    own = "user root;" if os.geteuid() == 0 else ""
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; {own} events {{}}\n"
        f"http {{ access_log off; {paths}\n{example}\n}}\n"
    )
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert program, "this test needs nginx"
    process = subprocess.Popen([program, "-e", "stderr", "-c", f"{folder}/nginx.conf"])
    try:
        until("nginx listens", lambda: is_open(port))
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.needs_server
@pytest.mark.timeout(120)
def test_the_proxy_of_the_manual_lets_in_its_own_name_alone(
    box: RunningBox, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    own = {"Host": OWN, "Authorization": f"Basic {b64(b'me:sesame')}"}
    with guard(tmp_path, behind(box), OWN) as port, nginx(tmp_path, port) as front:
        path = f"{API}/workflows/none/cancel"
        asked = {
            "own": tls(front, OWN, "GET", API, own),
            "no password": tls(front, OWN, "GET", API, {"Host": OWN}),
            "own page": tls(front, OWN, "POST", path, own | origin(OWN)),
            "foreign page": tls(front, OWN, "POST", path, own | origin(EVIL)),
            "foreign name": tls(front, EVIL, "GET", API, own | {"Host": EVIL}),
            "foreign host": tls(front, OWN, "GET", API, own | {"Host": EVIL}),
        }
    assert READ.encode() in asked["own"][1]
    assert asked["no password"][0] == 401
    assert b"csrf token" in asked["own page"][1]  # So says the UI.
    assert asked["foreign page"][0] == 403
    assert b"A page of" in asked["foreign page"][1]
    for name in ("foreign name", "foreign host"):
        assert asked[name][0] in (0, 421), asked[name]


def origin(name: str) -> dict[str, str]:
    return {"Origin": f"https://{name}"}


def tls(
    port: int, name: str, method: str, path: str, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """Ask over TLS as a browser would that takes ``name`` for this machine's; 0: nobody answered."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    words = [f"{method} {path} HTTP/1.1", "Connection: close", "Content-Length: 0"]
    words += [f"{key}: {value}" for key, value in headers.items()]
    text = b""
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
    ):
        sock.sendall("\r\n".join([*words, "", ""]).encode())
        while data := sock.recv(65536):
            text += data
    return int(text[9:12]) if text else 0, text
