"""Text of supervisord's configuration, made from ``Config``.

Pure, and without any secret: the command lines are there for everybody to see.
"""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.boot.die_with_parent import ONLY
from appliance.config.model import Config, TemporalSettings
from appliance.errors import ConfigError

_STARTSECS = 5
_STARTRETRIES = 3
"""So being killed three times while it starts is no reason to give a part up."""
_GUARD_STOP_S = 1
_TEMPORAL_STOP_S = 3
"""The server needs about a second; killed later it loses nothing it acknowledged."""
_WORKER_STOP_S = 2
"""What a worker gets beyond ``worker.grace``; docker stop waits 10 s for all of it."""

# One history shard hands out 20 reads a second by default, 50 ms for every dependent step.
_POLL_RATES = tuple(
    f"history.{queue}ProcessorMaxPollRPS=1000"
    for queue in ("transfer", "timer", "visibility", "outbound")
)
# A question to a worker is a workflow that is deleted once answered; by default the server
# looks every 10 s or so whether it may.
_DELETES_AT_ONCE = ("history.transferProcessorEnsureCloseBeforeDelete=false",)
# The frontend's own HTTP API, on a port of its own, takes any host name: nobody is to use it, and this
# cannot be one.
_NO_HTTP_API = ('frontend.httpAllowedHosts=["/"]',)
# For one machine: one partition a task queue, and caches bound by bytes, as small as costs no
# CPU: what they miss is read from the same process's database.
_FRUGAL = (
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "history.cacheSizeBasedLimit=true",
    "history.hostLevelCacheMaxSizeBytes=8388608",
    "history.eventsHostLevelCacheMaxSizeBytes=4194304",
)
# A soft bound. Collecting half as often saves 4 % of the server's CPU and takes 35 MB.
_FRUGAL_GO = {"GOMEMLIMIT": "384MiB"}
_GO_ENVIRONMENT = ("TMPDIR", "TZ", "GOMAXPROCS")
"""Variables of our environment that the server receives; the others may hold secrets."""
_PRAGMAS = ("journal_mode=wal", "synchronous=full")

_HEAD = """\
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
loglevel=warn
pidfile={pidfile}
childlogdir={run}
nocleanup=true
minfds=1024
{user}"""

_PROGRAM = """
[program:{name}]
command={command}
priority={priority}
startsecs={startsecs}
startretries={startretries}
autorestart=true
stopsignal={stopsignal}
stopwaitsecs={stopwaitsecs}
stopasgroup=false
killasgroup=true
stdout_logfile={stdout}
stdout_logfile_maxbytes=0
stderr_logfile=/dev/fd/2
stderr_logfile_maxbytes=0
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """The executables, and the folder for what lives as long as this start."""

    python: Path
    temporal: Path
    run: Path
    ui: tuple[str, int]
    """Where Temporal's UI listens, behind the guard."""


def render(config: Config, programs: Programs, *, is_root: bool) -> str:
    """Return the text of supervisord.conf.

    Args:
        config: what to run.
        programs: with what.
        is_root: whether supervisord runs as root, which it wants to be told.

    Raises:
        ConfigError: a path cannot be written in such a file.
    """
    text = _HEAD.format(
        pidfile=_escaped(str(programs.run / "supervisord.pid")),
        run=_escaped(str(programs.run)),
        user="user=root\n" if is_root else "",
    )
    if config.runs_server:
        text += _temporal(config, programs) + _guard(config, programs)
    text += _worker(config, programs) if config.runs_worker else _prepare(programs)
    return text


def temporal_command(
    temporal: Path, settings: TemporalSettings, *, data: Path, ui: tuple[str, int]
) -> list[str]:
    """Return the command line of the bundled Temporal server; ``ui``: where its UI listens."""
    command = [
        *(str(temporal), "server", "start-dev"),
        *("--ip", settings.ip, "--port", str(settings.port)),
        *("--ui-ip", ui[0], "--ui-port", str(ui[1])),
        *("--metrics-port", str(settings.metrics_port)),
        *("--db-filename", str(data / "temporal.db")),
        *("--log-level", "error", "--ui-disable-news-fetch"),
    ]
    if settings.namespace != "default":
        command += ["--namespace", settings.namespace]
    for pragma in _PRAGMAS:
        command += ["--sqlite-pragma", pragma]
    for value in (*_POLL_RATES, *_DELETES_AT_ONCE, *_NO_HTTP_API, *_FRUGAL):
        command += ["--dynamic-config-value", value]
    return command


def _temporal(config: Config, programs: Programs) -> str:
    command = temporal_command(
        programs.temporal, config.temporal, data=config.data, ui=programs.ui
    )
    environment = {
        # The server does not start for a user without a name and a home.
        "HOME": str(config.data),
        "USER": "appliance",
        **_FRUGAL_GO,
    }
    # What it prints at start says less than the banner.
    program = _program(
        "temporal",
        command,
        python=programs.python,
        priority=10,
        stop=("INT", _TEMPORAL_STOP_S),
        stdout="NONE",
        only=(*environment, *_GO_ENVIRONMENT),
    )
    return f"{program}umask=077\n{_environment(environment)}"


def _guard(config: Config, programs: Programs) -> str:
    """Render what people reach the UI through."""
    settings = config.temporal
    return _program(
        "guard",
        [
            *(str(programs.python), "-I", "-m", "appliance.boot.ui_guard"),
            f"{settings.ui_ip}:{settings.ui_port}",
            f"{programs.ui[0]}:{programs.ui[1]}",
            *([settings.ui_hosts] if settings.ui_hosts else []),
        ],
        python=programs.python,
        priority=15,
        stop=("TERM", _GUARD_STOP_S),
        stdout="NONE",
        only=("TZ",),
    )


def _worker(config: Config, programs: Programs) -> str:
    return _program(
        "worker",
        [str(programs.python), "-m", "appliance", "worker"],
        python=programs.python,
        priority=20,
        stop=("TERM", math.ceil(config.worker.grace_s) + _WORKER_STOP_S),
        stdout="/dev/fd/1",
    )


def _prepare(programs: Programs) -> str:
    """Prepare the namespace once the server is up; with a worker, the worker does it."""
    return (
        _program(
            "prepare",
            [str(programs.python), "-m", "appliance", "prepare"],
            python=programs.python,
            priority=20,
            stop=("TERM", _WORKER_STOP_S),
            stdout="/dev/fd/1",
        )
        .replace("autorestart=true", "autorestart=unexpected")
        .replace(f"startsecs={_STARTSECS}", "startsecs=0")
    )


def _program(
    name: str,
    command: list[str],
    *,
    python: Path,
    priority: int,
    stop: tuple[str, int],
    stdout: str,
    only: Sequence[str] | None = None,
) -> str:
    """Return the section of one program; ``only``: the variables it has, None for all."""
    names = () if only is None else (f"{ONLY}{','.join(only)}",)
    tethered = [str(python), "-m", "appliance.boot.die_with_parent", *names, *command]
    return _PROGRAM.format(
        name=name,
        command=_escaped(shlex.join(tethered)),
        priority=priority,
        startsecs=_STARTSECS,
        startretries=_STARTRETRIES,
        stopsignal=stop[0],
        stopwaitsecs=stop[1],
        stdout=stdout,
    )


def _environment(values: Mapping[str, str]) -> str:
    pairs = (f"{name}={_quoted(value)}" for name, value in values.items())
    return f"environment={_escaped(','.join(pairs))}\n"


def _quoted(value: str) -> str:
    # supervisord reads this with shlex, in which a backslash escapes within quotes.
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    """Keep supervisord from expanding ``%``; a comment sign it would cut off is refused.

    Raises:
        ConfigError: there is a comment sign or a line end in it.
    """
    if re.search(r"\s[;#]|[\r\n]", text):
        raise ConfigError(
            "The data folder's path cannot hold a space before ; or #, nor a line end: "
            f"{text!r}"
        )
    return text.replace("%", "%%")
