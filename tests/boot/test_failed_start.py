"""A start that cannot succeed ends at once, says why in a line, and commands say the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.boot.run_folder import run_folder
from appliance.config.failed_start import forget, note, noted_after
from appliance.forkserver.control import Zygote, ZygoteRefusedError
from tests.box import Ended, clean_environ, ports, run
from tests.conftest import ROOT
from tests.taskrun.conftest import zygote_env

MODULES = {
    "needs_much": "import much_that_is_not_there\n",
    "vaults": """\
        from airflow.sdk.bases.secrets_backend import BaseSecretsBackend

        class Vault(BaseSecretsBackend):
            def __init__(self, url):
                raise ValueError(f"nobody is at {url}")
        """,
    "leaves": "import sys\nsys.exit(3)\n",
    "xcoms": "class Backend: ...\n",
}
NOT_THERE = "AIRFLOW__CORE__XCOM_BACKEND: there is no module my_backend: put it into"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    for name, text in MODULES.items():
        lines = [line.removeprefix(" " * 8) for line in text.splitlines()]
        (folder / f"{name}.py").write_text("\n".join(lines))
    return folder


@pytest.mark.needs_airflow
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        (
            "CORE__XCOM_BACKEND",
            "xcoms.Backed",
            "the module xcoms (HERE/xcoms.py) has no Backed; did you mean xcoms.Backend?",
        ),
        (
            "SECRETS__BACKEND",
            "needs_much.Backend",
            "the module needs_much needs much_that_is_not_there, which is not installed: "
            "HERE/needs_much.py:1: ModuleNotFoundError: No module named "
            "'much_that_is_not_there'",
        ),
        (
            "SECRETS__BACKEND",
            "vaults.Vault",
            "it cannot be made with AIRFLOW__SECRETS__BACKEND_KWARGS: HERE/vaults.py:5: "
            "ValueError: nobody is at ***",
        ),
        (
            "LOGGING__LOGGING_CONFIG_CLASS",
            "leaves.CONFIG",
            "the module leaves cannot be imported: HERE/leaves.py:2: SystemExit: 3",
        ),
        (
            "WORKERS__STATE_STORE_BACKEND",
            "xcoms.Backed",
            "the module xcoms (HERE/xcoms.py) has no Backed; did you mean xcoms.Backend?",
        ),
        (
            "COMMON_IO__XCOM_OBJECTSTORAGE_PATH",
            "ftps://nowhere/x",
            "`[common.io] xcom_objectstorage_path` should not begin with ftps://: no "
            "installed provider reaches that; install its package",
        ),
        (
            "LOGGING__LOGGING_LEVEL",
            "LOUD",
            "`[logging] logging_level` should not be 'LOUD'. Possible values: CRITICAL, "
            "FATAL, ERROR, WARN, WARNING, INFO, DEBUG.",
        ),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named_with_what_is_wrong(
    tmp_path: Path,
    modules: Path,
    capfd: pytest.CaptureFixture[str],
    setting: str,
    value: str,
    said: str,
) -> None:
    env = zygote_env(tmp_path) | {
        "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"url": "a-secret-place"}',
        f"AIRFLOW__{setting}": value,
    }
    env["PYTHONPATH"] = f"{env.get('PYTHONPATH', ROOT)}:{modules}"
    with pytest.raises(ZygoteRefusedError) as caught:
        await Zygote.start(env=env)
    assert str(caught.value) == f"AIRFLOW__{setting}: {said}".replace(
        "HERE", str(modules)
    )
    assert capfd.readouterr() == ("", "")


def command(environ: dict[str, str], *words: str) -> Ended:
    return run([sys.executable, "-m", "appliance", *words], environ, 100)


@pytest.mark.needs_server
@pytest.mark.timeout(150)
def test_an_appliance_that_cannot_start_ends_with_2_and_one_line_and_so_do_commands(
    tmp_path: Path,
) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "my_backend.py").write_text("class FileBackend: ...\n")
    environ = {
        **clean_environ(),
        **ports(),
        "APPLIANCE_DATA": str(tmp_path / "data"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__XCOM_BACKEND": "my_backend.FileBackend",
    }
    up = subprocess.Popen(
        [sys.executable, "-m", "appliance", "up"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    waiting = command(environ, "submit", "my_dag")
    said, _ = up.communicate(timeout=100)
    assert up.returncode == 2, said
    (line,) = said.splitlines()
    assert line.startswith(NOT_THERE)
    assert line.endswith(f"; {dags}, where it is, is not searched for it")
    asked = f"The appliance is not up; its last start ended with: {line}\n"
    assert (waiting.code, waiting.stderr) == (2, asked)
    later = command(environ, "dags", "list")
    assert (later.code, later.stderr) == (2, asked)


def test_a_reason_is_believed_at_once_when_new_and_else_after_two_seconds(
    tmp_path: Path,
) -> None:
    """What is there when a command begins may be of an earlier start than the one under way."""
    folder = run_folder(tmp_path)
    note(tmp_path, "a folder that is not there is no error")
    folder.mkdir(parents=True)
    note(tmp_path, "why")
    (file,) = folder.iterdir()
    assert noted_after(tmp_path, 2.0) == "why"
    os.utime(file, (1, 1))
    assert noted_after(tmp_path, 1.9) is None
    assert noted_after(tmp_path, 2.0) == "why"
    forget(tmp_path)
    assert noted_after(tmp_path, 2.0) is None
