"""What appliance.yaml says of schedules."""

from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.config.machine_limits import Machine
from appliance.config.model import Config, ScheduleSettings
from appliance.config.show import show
from appliance.errors import ConfigError

MACHINE = Machine(cpus=2, memory_bytes=4 << 30)


def loaded(cwd: Path, text: str, **environ: str) -> Config:
    (cwd / "conf").mkdir(exist_ok=True)
    (cwd / "conf" / "appliance.yaml").write_text(text)
    return load(environ, cwd=cwd, machine=MACHINE)


def test_every_key(tmp_path: Path) -> None:
    """A schedule has all that Airflow's own have, and a conf."""
    config = loaded(
        tmp_path,
        """
schedules:
  nightly:
    dag: my_etl
    cron: 0 2 * * *
    timezone: Europe/Paris
    conf: {full: true, days: [1, 2]}
    paused: true
    catchup: true
    start_date: 2026-01-01
    end_date: 2026-12-31T10:00:00+02:00
    max_active_runs: 1
  often: {dag: other, every: 90m}
""",
    )
    assert config.schedules == (
        ScheduleSettings(
            name="nightly",
            dag_id="my_etl",
            cron="0 2 * * *",
            timezone="Europe/Paris",
            conf={"full": True, "days": [1, 2]},
            is_paused=True,
            catchup=True,
            start="2026-01-01T00:00:00+00:00",
            end="2026-12-31T08:00:00+00:00",
            max_active_runs=1,
            place="conf/appliance.yaml:4:10",
        ),
        ScheduleSettings(
            name="often",
            dag_id="other",
            every_s=5400.0,
            place="conf/appliance.yaml:13:16",
        ),
    )
    assert "nightly:\n    dag: my_etl\n    cron: 0 2 * * *" in show(config)


@pytest.mark.parametrize(
    ("written", "environ", "mode"),
    [
        ("", {}, "paused"),
        ("dags: {schedules: active}", {}, "active"),
        ("dags: {schedules: ignore}", {}, "ignore"),
        (
            "dags: {schedules: paused}",
            {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"},
            "active",
        ),
        ("", {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "true"}, "paused"),
    ],
)
def test_how_the_schedules_of_files_begin(
    tmp_path: Path, written: str, environ: dict[str, str], mode: str
) -> None:
    """As Airflow's own setting says, and otherwise as ours."""
    assert loaded(tmp_path, written, **environ).dags.schedules == mode


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dags: {schedules: pausd}",
            "1:19: dags.schedules: expected one of paused, active, ignore, not 'pausd'",
        ),
        (
            "schedules: [nightly]",
            "1:12: schedules: expected a mapping",
        ),
        (
            "schedules:\n  nightly: 0 2 * * *",
            "2:12: schedules.nightly: expected a mapping such as {dag: my_etl, cron: ",
        ),
        (
            "schedules: {n: {cron: 0 2 * * *}}",
            "1:13: schedules.n: 'dag' is missing, a DAG id",
        ),
        (
            "schedules: {n: {dag: a, cron: 0 2 * *}}",
            "1:31: schedules.n.cron: expected a cron expression of 5 or 6 fields, or "
            "one of Airflow's presets, not '0 2 * *' (it has 4 fields)",
        ),
        (
            "schedules: {n: {dag: a, cron: '@dayly'}}",
            "1:31: schedules.n.cron: expected a cron expression of 5 or 6 fields, or "
            "one of Airflow's presets, not '@dayly' (there is no preset '@dayly', ",
        ),
        (
            "schedules: {n: {dag: a, cron: 0 25 * * *}}",
            "1:31: schedules.n.cron: expected a cron expression",
        ),
        (
            "schedules: {n: {dag: a}}",
            "1:13: schedules.n: give one of 'cron' and 'every'",
        ),
        (
            "schedules: {n: {dag: a, cron: 0 2 * * *, every: 1h}}",
            "1:13: schedules.n: give one of 'cron' and 'every'",
        ),
        (
            "schedules: {n: {dag: a, every: hourly}}",
            "1:32: schedules.n.every: expected a duration with its unit",
        ),
        (
            "schedules: {n: {dag: a, every: 1h, timezone: Europe/Pari}}",
            "1:46: schedules.n.timezone: expected a time zone such as Europe/Paris, "
            "not 'Europe/Pari', did you mean 'Europe/Paris'?",
        ),
        (
            "schedules: {n: {dag: a, every: 1h, catchup: yes}}",
            "1:45: schedules.n.catchup: expected true or false, not 'yes'",
        ),
        (
            "schedules: {n: {dag: a, every: 1h, catchup: true}}",
            "1:45: schedules.n: catchup needs a start_date",
        ),
        (
            "schedules: {n: {dag: a, every: 1h, start_date: monday}}",
            "1:48: schedules.n.start_date: expected a time such as 2026-01-31",
        ),
        (
            "schedules: {n: {dag: a, every: 1h, conf: [1]}}",
            "1:42: schedules.n.conf: expected a mapping, not a list",
        ),
        (
            "schedules: {n: {dag: a, every: 1h, max_active_runs: 0}}",
            "1:53: schedules.n.max_active_runs: expected a whole number from 1 to ",
        ),
        (
            "schedules: {n: {dag: a, evry: 1h}}",
            "1:25: unknown key 'evry' in schedules.n, did you mean 'every'?",
        ),
    ],
)
def test_bad_schedules(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong is told with line and column, and what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert str(caught.value).startswith(f"conf/appliance.yaml:{message}")


def test_airflows_setting_must_be_a_boolean(tmp_path: Path) -> None:
    """A word that is no boolean is told as such."""
    variable = "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "", **{variable: "perhaps"})
    assert str(caught.value).startswith(f"{variable}: expected True or False")


def test_a_conf_that_is_too_large_is_told_at_the_start(tmp_path: Path) -> None:
    """One alone, or all of them together."""
    one = "schedules:\n  a: {dag: d, every: 1h, conf: {x: %s}}\n"
    with pytest.raises(ConfigError, match=r"yaml:2:\d+: .*conf is 300 kB as JSON"):
        loaded(tmp_path, one % ("x" * 300_000))

    rows = (
        f"  n{i}: {{dag: d, every: 1h, conf: {{x: {'x' * 240_000}}}}}\n"
        for i in range(5)
    )
    with pytest.raises(ConfigError, match="conf of all schedules is 1200 kB as JSON"):
        loaded(tmp_path, "schedules:\n" + "".join(rows))
