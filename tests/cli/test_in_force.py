"""Commands and workers of an appliance that is up go by what it was started with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.boot.run_folder import locked
from appliance.cli.appliance_commands import worker_config
from appliance.cli.context import CommandContext
from appliance.config.model import Config
from appliance.config.settings_of_start import save_settings
from appliance.errors import ConfigError

FILE = "temporal: {port: 7}\nworker: {max_lost: 1}\nvariables: {a: s3cret}"


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def write(text: str) -> None:
        (tmp_path / "appliance.yaml").write_text(text)

    write(FILE)
    monkeypatch.setenv("APPLIANCE_CONF", str(tmp_path / "appliance.yaml"))
    monkeypatch.setenv("APPLIANCE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("APPLIANCE_PORT", raising=False)
    return write


def test_what_is_up_counts_whatever_was_saved_since(
    tmp_path: Path, save: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = CommandContext()
    config = box.settings()
    assert box.running() is None
    with locked(config) as folder:
        save_settings(config, folder)
        assert "s3cret" not in (folder / "settings.json").read_text()

        save(FILE.replace("7", "8").replace("1", "2"))
        assert box.settings().temporal.port == 7
        config = worker_config(box)
        assert (config.temporal.port, config.worker.max_lost) == (7, 2)
        assert config.secrets.variables == {"a": "s3cret"}
        assert tmp_path / "appliance.yaml" in config.sources

        save("rol: x")
        assert box.settings().temporal.port == 7
        monkeypatch.setenv("APPLIANCE_PORT", "9")
        assert box.settings().temporal.port == 9
    with pytest.raises(ConfigError, match="unknown key 'rol'"):
        box.settings()


def test_a_worker_waits_for_a_file_to_be_mended(
    save: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is started again while the file has mistakes."""
    box, looks = CommandContext(), 0
    config = box.settings()

    def look() -> Config:
        nonlocal looks
        looks += 1
        if looks == 2:
            save(FILE)
        return box.load()

    with locked(config) as folder:
        save_settings(config, folder)
        save("rol: x")
        found = worker_config(replace(box, load=look))
    assert found.secrets.variables == {"a": "s3cret"}
    said = capsys.readouterr().err
    assert said.startswith("ERROR the worker waits until the configuration is mended:")
    assert said.count("unknown key 'rol'") == 1
