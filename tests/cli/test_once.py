"""``once`` starts an appliance for one run and ends with the run's code."""

import sys
from pathlib import Path

import pytest

from appliance.cli.temporary_appliance import BackgroundFailed, background
from tests.box import Ended, clean_environ, ports, run
from tests.conftest import ROOT

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(120)]


def once(data: Path, *words: str, **environ: str) -> Ended:
    env = {**clean_environ(), **ports(), "APPLIANCE_DATA": str(data), **environ}
    env.setdefault("AIRFLOW__CORE__DAGS_FOLDER", str(ROOT / "dags"))
    return run([sys.executable, "-m", "appliance", "once", *words], env, 100)


def test_it_waits_also_when_it_is_not_told_to(tmp_path: Path) -> None:
    done = once(tmp_path, "my_dag", "--run-id", "one")
    assert done.code == 0, done.stderr
    assert "success: 2 succeeded, 0 failed of 2 tasks" in done.stdout


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (("my_dag", "--nonsense"), {}, "No such option"),
        (("my_dag",), {"APPLIANCE_ROLE": "x"}, "APPLIANCE_ROLE: expected one of"),
        (("my_dag",), {"AIRFLOW__CORE__DAGS_FOLDER": "/nowhere"}, "/nowhere: does"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(
    tmp_path: Path, words: tuple[str, ...], environ: dict[str, str], said: str
) -> None:
    done = once(tmp_path, *words, **environ)
    assert (done.code, said in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "up.log").exists()


def test_an_appliance_that_does_not_come_up_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "temporal.db").write_text("not what it was")
    done = once(tmp_path, "my_dag")
    assert done.code == 2
    assert "temporal.db: is no SQLite database" in done.stderr
    assert done.stderr.endswith("The appliance did not stay up, see above.\n")


def test_an_appliance_is_waited_for_while_it_starts_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "slow.py").write_text("import time\ntime.sleep(300)\n")
    environ = {**clean_environ(), **ports()}
    environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(ROOT / "dags")
    environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(plugins)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(BackgroundFailed, match="not well after 6 s") as caught,
        background(tmp_path, start_s=6.0),
    ):
        pass
    assert caught.value.exit_code == 3
    assert "The appliance is still starting, after " in capsys.readouterr().err
