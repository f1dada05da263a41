"""Text that the appliance prints when it is ready. Pure: facts in, text out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.config.model import Config

_MOST_ERRORS = 3
_DAY_S = 86400.0
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class BannerFacts:
    """What the worker saw while it came up."""

    version: str
    dag_ids: Sequence[str]
    """Empty without a worker."""
    runnable: Sequence[str] = ()
    """Those that may be submitted by their id alone."""
    import_errors: Sequence[str] = ()
    """A line each, ``file:line: error``."""
    seconds: Mapping[str, float] | None = None
    """After how long each part was there, in order: ``{"temporal": 0.4, ...}``."""
    data_warning: str | None = None
    """Why the data folder is not safe: ``appliance.boot.data_volume``."""
    active: Sequence[str] = ()
    """Schedules that begin active."""
    paused: Sequence[str] = ()
    """Schedules that begin paused."""
    remarks: Sequence[str] = ()
    """What schedules do not do, a line each."""
    warnings: Sequence[str] = ()
    """What else someone should look at, a sentence each."""


def banner(config: Config, facts: BannerFacts, *, cwd: Path) -> str:
    """Return the text, one fact a line and the warnings last."""
    data_note = "" if facts.data_warning is None else "  (NOT SAFE, see below)"
    rows = [
        ("", f"appliance {facts.version} is ready{_took(facts)}"),
        ("data", f"{_shown(config.data, cwd)}{data_note}"),
        ("config", _config(config, cwd)),
        ("dags", _dags(config, facts, cwd)),
        *_listed(facts.import_errors, "appliance dags errors"),
        *_schedules(facts),
        *_listed(facts.remarks, "appliance schedules list"),
        ("temporal", _temporal(config)),
        *_server(config),
    ]
    if config.runs_worker:
        rows.append(("worker", _worker(config)))
    if facts.runnable:
        rows.append(("try", f"submit {_example(facts.runnable)} --follow"))
    lines = [f"{label:<9} {text}".rstrip() if label else text for label, text in rows]
    warnings = [*config.warnings, *facts.warnings]
    if facts.data_warning:
        warnings.append(facts.data_warning)
    return "\n".join([*lines, *(f"WARNING   {warning}" for warning in warnings)])


def _took(facts: BannerFacts) -> str:
    parts = [f"{part} {took:.1f} s" for part, took in (facts.seconds or {}).items()]
    return f" ({', '.join(parts)})" if parts else ""


def _config(config: Config, cwd: Path) -> str:
    where = _shown(config.file, cwd)
    if config.is_in_environment:
        where = "APPLIANCE_CONFIG"
    elif not config.file.exists():
        return f"{where} (not there, defaults)"
    connections = _count(len(config.secrets.connections), "connection")
    variables = _count(len(config.secrets.variables), "variable")
    noted = ""
    if config.notes:
        ends = _count(len(config.notes), "line end")
        noted = f"; {ends} at the end of files left out, see appliance config check"
    return f"{where}: {connections}, {variables}{noted}"


def _dags(config: Config, facts: BannerFacts, cwd: Path) -> str:
    if not config.runs_worker:
        return "none, this is a server without a worker"
    dags = _count(len(facts.dag_ids), "DAG")
    errors = _count(len(facts.import_errors), "import error")
    return f"{_shown(config.dags.folder, cwd)}: {dags}, {errors}"


def _schedules(facts: BannerFacts) -> list[tuple[str, str]]:
    if not facts.active and not facts.paused:
        return []
    text = f"{len(facts.active)} begin active, {len(facts.paused)} paused"
    if facts.paused:
        text += f"; start one: appliance schedules resume {facts.paused[0]}"
    return [("schedules", text)]


def _listed(lines: Sequence[str], command: str) -> list[tuple[str, str]]:
    """Show the first few; ``command`` shows all."""
    shown = [line.splitlines()[0] for line in lines[:_MOST_ERRORS]]
    more = len(lines) - len(shown)
    if more:
        shown.append(f"and {more} more: {command}")
    return [("", f"  {line}") for line in shown]


def _temporal(config: Config) -> str:
    settings = config.temporal
    where = settings.address or f"127.0.0.1:{settings.port}"
    queue = f"namespace {settings.namespace}, task queue {settings.task_queue}"
    return f"{where}, {queue}, finished runs kept {_duration(settings.retention_s)}"


def _server(config: Config) -> list[tuple[str, str]]:
    if not config.runs_server:
        return []
    settings = config.temporal
    return [
        ("ui", f"http://localhost:{settings.ui_port}"),
        ("metrics", f"http://localhost:{settings.metrics_port}/metrics"),
    ]


def _worker(config: Config) -> str:
    tries = _count(config.worker.parallelism, "task")
    return f"runs {tries} at once, {config.worker.grace_s:g} s to end at stop"


def _example(dag_ids: Sequence[str]) -> str:
    return "my_dag" if "my_dag" in dag_ids else min(dag_ids)


def _duration(seconds: float) -> str:
    if seconds >= _DAY_S:
        return _count(round(seconds / _DAY_S, 1), "day")
    return _count(round(seconds / _HOUR_S, 1), "hour")


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def _shown(path: Path, cwd: Path) -> str:
    is_below = path.is_relative_to(cwd) and cwd != Path("/")
    return str(path.relative_to(cwd)) if is_below else str(path)
