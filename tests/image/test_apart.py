"""Server and workers in containers of their own, also over TLS as a server elsewhere wants it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.box import ports
from tests.image.container import Container, docker, rows, run, started, until, volume

pytestmark = [pytest.mark.needs_image, pytest.mark.timeout(180)]

DAGS = Path(__file__).parent / "dags"
HOST = "temporal.test"
LOST_S = 150
"""A minute without heartbeat, half a minute for the worker to come back, and some."""
SHARED = (
    *("-e", "APPLIANCE_KEY_FILE=/shared/keys"),
    *("-e", "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH=file:///shared/xcom"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Container, str]]:
    """Start a server without a worker; give it and the volume it shares with workers."""
    with volume() as data, volume() as shared:
        mounts = ("-v", f"{data}:/data", "-v", f"{shared}:/shared")
        with started("-e", "APPLIANCE_ROLE=server", *mounts, *SHARED) as container:
            yield container.wait_until_well(), shared


@contextmanager
def worker(server: tuple[Container, str], *options: str) -> Iterator[Container]:
    container, shared = server
    with started(
        *("-e", "APPLIANCE_ROLE=worker"),
        *("-e", f"TEMPORAL_ADDRESS={container.address}:7233"),
        *("-v", f"{shared}:/shared", "-v", f"{DAGS}:/dags:ro", *SHARED, *options),
    ) as box:
        yield box.wait_until_well()


@pytest.mark.timeout(300)
def test_a_killed_worker_container_loses_nothing(
    server: tuple[Container, str], tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "variables.json").write_text('{"secret": "hunter2"}')
    gate = ("-v", f"{tmp_path}:/gate")
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(server, *gate)) for _ in range(2)]
        words = ("submit", "lasts", "--run-id", "one")
        secret = ("--variables", "/gate/variables.json")
        assert workers[0].exec(*words, *secret).code == 0
        begun = tmp_path / "begun"
        until(begun.exists, workers[0].logs)
        busy = next(
            box for box in workers if box.inspect()["Id"].startswith(names(begun)[0])
        )
        docker("kill", busy.name)
        (other,) = (box for box in workers if box != busy)
        until(lambda: len(names(begun)) > 1, other.logs, within_s=LOST_S)
        assert other.inspect()["Id"].startswith(names(begun)[1])
        (tmp_path / "open").touch()
        done = other.exec("appliance", "runs", "wait", "lasts", "one")
        assert done.code == 0, done.stderr + other.logs()
        xcoms = rows(other.exec("appliance", "xcoms", "lasts", "one", "-o", "json"))
        assert [row["value"] for row in xcoms] == ["kept", ["kept", "hunter2"]]


def names(begun: Path) -> list[str]:
    return begun.read_text().split()


def test_workers_pass_each_other_large_values(server: tuple[Container, str]) -> None:
    with worker(server) as one, worker(server):
        done = server[0].exec("submit", "passes_much", "--wait", "-o", "json")
        assert done.code == 0, done.stdout + one.logs()
        shown = one.exec("ls", "/shared/xcom/passes_much")
        assert shown.stdout, shown.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an authority, and certificates of a server and of a client."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key")
    names = {"ca": ("CA:TRUE", ()), HOST: ("CA:FALSE", signed)}
    names["client"] = names[HOST]
    for name, (is_authority, signer) in names.items():
        subprocess.run(
            [
                *("openssl", "req", "-x509", *key, "-days", "2", *signer),
                *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
                *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
                *("-addext", f"basicConstraints=critical,{is_authority}"),
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    return folder


NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {port} ssl http2;
    keepalive_requests 1000000;
    ssl_certificate {certificates}/{host}.pem;
    ssl_certificate_key {certificates}/{host}.key;
    ssl_client_certificate {certificates}/ca.pem;
    ssl_verify_client optional;
    set $may no;
    if ($ssl_client_verify = SUCCESS) {{ set $may yes; }}
    if ($http_authorization = "Bearer sesame") {{ set $may yes; }}
    if ($may = no) {{ return 401; }}
    location / {{
      grpc_pass grpc://{server}:7233;
      grpc_read_timeout 1h;
      client_body_timeout 1h;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def terminator(
    server: tuple[Container, str],
    certificates: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Put TLS in front of the server, for clients with a certificate or a key."""
    folder = tmp_path_factory.mktemp("nginx")
    port = ports()["APPLIANCE_PORT"]
    (folder / "nginx.conf").write_text(
        NGINX.format(
            folder=folder,
            port=port,
            certificates=certificates,
            host=HOST,
            server=server[0].address,
        )
    )
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert program, "this test needs nginx"
    nginx = subprocess.Popen([program, "-e", "stderr", "-c", f"{folder}/nginx.conf"])
    try:
        yield f"{HOST}:{port}"
    finally:
        nginx.terminate()
        nginx.wait()


CERTIFICATE = (
    *("-e", "TEMPORAL_TLS_CLIENT_CERT_PATH=/certificates/client.pem"),
    *("-e", "TEMPORAL_TLS_CLIENT_KEY_PATH=/certificates/client.key"),
)
KEY = ("-e", "TEMPORAL_API_KEY=sesame")


@pytest.mark.parametrize("proof", [CERTIFICATE, KEY], ids=["certificate", "API key"])
def test_a_worker_of_a_server_elsewhere_over_tls(
    server: tuple[Container, str],
    terminator: str,
    certificates: Path,
    proof: tuple[str, ...],
) -> None:
    elsewhere = (
        *("--add-host", f"{HOST}:host-gateway"),
        *("-e", f"TEMPORAL_ADDRESS={terminator}"),
        *("-v", f"{certificates}:/certificates:ro"),
        *("-e", "TEMPORAL_TLS=true"),
        *("-e", "TEMPORAL_TLS_SERVER_CA_CERT_PATH=/certificates/ca.pem"),
    )
    with worker(server, *elsewhere, *proof) as box:
        done = box.exec("submit", "passes_much", "--wait", "-o", "json")
        assert done.code == 0, done.stderr + box.logs()
        workflow = json.loads(done.stdout)["workflow_id"]
        assert workflow in box.exec("temporal", "workflow", "list").stdout
    refused = run(*elsewhere, words=("health",))
    assert refused.code == 3
    assert "401 Unauthorized" in refused.stdout
