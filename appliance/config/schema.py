"""The keys of appliance.yaml: which there are and what each may hold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from appliance.config import fields
from appliance.config.connections import connections
from appliance.config.document import Value
from appliance.config.model import OnLost, Role, Secrets
from appliance.config.problems import Problems
from appliance.config.variables import variables

ROLES = ("all", "server", "worker")
_ON_LOST = ("retry", "fail")
_KEYS = frozenset(
    {"connections", "variables", "role", "retention", "worker", "dags", "temporal"}
)
_WORKER = frozenset({"parallelism", "grace", "on_lost", "max_lost"})
_DAGS = frozenset({"folder", "plugins", "max_age"})
_TEMPORAL = frozenset(
    {
        "address",
        "namespace",
        "task_queue",
        "ip",
        "port",
        "ui_ip",
        "ui_port",
        "metrics_port",
    }
)
_MOST_PORT = 65535
_MOST_PARALLELISM = 1000
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Written:
    """What appliance.yaml says; None where it says nothing."""

    secrets: Secrets = field(default_factory=Secrets)
    role: Role | None = None
    retention_s: float | None = None
    worker: dict[str, int | float | OnLost | None] = field(default_factory=dict)
    folder: Path | None = None
    plugins: Path | None = None
    max_age_s: float | None = None
    temporal: dict[str, str | int | None] = field(default_factory=dict)


def read(root: Value | None, *, folder: Path, problems: Problems) -> Written:
    """Read the document; paths in it are relative to ``folder``."""
    keys = fields.section(root, _KEYS, problems)
    dags = fields.section(keys.get("dags"), _DAGS, problems)
    return Written(
        secrets=_secrets(keys, problems),
        role=cast(Role | None, fields.choice(keys.get("role"), problems, ROLES)),
        retention_s=fields.duration_s(
            keys.get("retention"), problems, least_s=_HOUR_S, least="1h"
        ),
        worker=_worker(keys.get("worker"), problems),
        folder=_path(dags.get("folder"), folder, problems),
        plugins=_path(dags.get("plugins"), folder, problems),
        max_age_s=fields.duration_s(
            dags.get("max_age"), problems, least_s=0.0, least="0s"
        ),
        temporal=_temporal(keys.get("temporal"), problems),
    )


def _secrets(keys: dict[str, Value], problems: Problems) -> Secrets:
    return Secrets(
        connections=connections(_named(keys.get("connections"), problems), problems),
        variables=variables(_named(keys.get("variables"), problems), problems),
    )


def _named(value: Value | None, problems: Problems) -> dict[str, Value]:
    if value is None or value.data is None:
        return {}
    if isinstance(value.data, dict):
        return value.data
    problems.add(value.place, fields.wrong_type(value, "a mapping", secret=True))
    return {}


def _worker(
    value: Value | None, problems: Problems
) -> dict[str, int | float | OnLost | None]:
    keys = fields.section(value, _WORKER, problems)
    on_lost = fields.choice(keys.get("on_lost"), problems, _ON_LOST)
    return {
        "parallelism": fields.whole(
            keys.get("parallelism"), problems, least=1, most=_MOST_PARALLELISM
        ),
        "grace_s": fields.duration_s(
            keys.get("grace"), problems, least_s=0.0, least="0s"
        ),
        "on_lost": cast(OnLost | None, on_lost),
        "max_lost": fields.whole(keys.get("max_lost"), problems, least=0),
    }


def _temporal(value: Value | None, problems: Problems) -> dict[str, str | int | None]:
    keys = fields.section(value, _TEMPORAL, problems)
    texts = ("address", "namespace", "task_queue", "ip", "ui_ip")
    ports = ("port", "ui_port", "metrics_port")
    found: dict[str, str | int | None] = {}
    found |= {name: fields.text(keys.get(name), problems) for name in texts}
    for name in ports:
        found[name] = fields.whole(keys.get(name), problems, least=1, most=_MOST_PORT)
    return found


def _path(value: Value | None, folder: Path, problems: Problems) -> Path | None:
    written = fields.text(value, problems)
    return folder / Path(written).expanduser() if written else None
