"""Text of the configuration in force, without its secrets."""

import json
from typing import Any

import yaml

from appliance.config.model import Config, Connection, ScheduleSettings
from appliance.config.sizes import size

_MASK = "***"


def show(config: Config) -> str:
    """Return the configuration as YAML; passwords, extras and variables are masked.

    Of a variable, an extra and Airflow's environment only the names are shown: which
    of their values is a secret nobody can tell.
    """
    temporal = config.temporal
    tree = {
        "file": _file(config),
        "data": str(config.data),
        "role": config.role,
        "retention": _duration(temporal.retention_s),
        "temporal": {
            "address": temporal.address or f"127.0.0.1:{temporal.port} (bundled)",
            "namespace": temporal.namespace,
            "task_queue": temporal.task_queue,
            **_bundled(config),
        },
        "worker": {
            "parallelism": config.worker.parallelism,
            "grace": _duration(config.worker.grace_s),
            "on_lost": config.worker.on_lost,
            "max_lost": config.worker.max_lost,
        },
        "dags": {
            "folder": str(config.dags.folder),
            "plugins": str(config.dags.plugins_folder),
            "max_age": _duration(config.dags.max_age_s),
            "schedules": config.dags.schedules,
        },
        "disk": {
            "floor": size(config.disk.floor_bytes),
            "logs": size(config.disk.logs_bytes),
        },
        "schedules": {one.name: _schedule(one) for one in config.schedules},
        "pools": {
            name: {"slots": pool.slots, "include_deferred": pool.include_deferred}
            for name, pool in sorted(config.pools.items())
        },
        "connections": {
            conn_id: _connection(connection)
            for conn_id, connection in sorted(config.secrets.connections.items())
        },
        "variables": dict.fromkeys(sorted(config.secrets.variables), _MASK),
        "airflow_environment": sorted(config.airflow_env),
    }
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _file(config: Config) -> str | None:
    if config.is_in_environment:
        return "APPLIANCE_CONFIG"
    return str(config.file) if config.file.exists() else None


def _bundled(config: Config) -> dict[str, Any]:
    temporal = config.temporal
    if temporal.address:
        return {}
    return {
        "ip": temporal.ip,
        "port": temporal.port,
        "ui_ip": temporal.ui_ip,
        "ui_port": temporal.ui_port,
        "ui_hosts": temporal.ui_hosts,
        "metrics_port": temporal.metrics_port,
    }


def _schedule(schedule: ScheduleSettings) -> dict[str, Any]:
    every = None if schedule.every_s is None else _duration(schedule.every_s)
    shown: dict[str, Any] = {
        "dag": schedule.dag_id,
        "cron": schedule.cron,
        "every": every,
        "timezone": schedule.timezone if schedule.cron else None,
        "conf": schedule.conf or None,
        "paused": schedule.is_paused,
        "catchup": schedule.catchup,
        "start_date": schedule.start,
        "end_date": schedule.end,
        "max_active_runs": schedule.max_active_runs,
    }
    return {key: value for key, value in shown.items() if value is not None}


def _connection(connection: Connection) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "conn_type": connection.conn_type,
        "host": connection.host,
        "port": connection.port,
        "schema": connection.schema,
        "login": connection.login,
        "password": _MASK if connection.password else None,
        "extra": dict.fromkeys(json.loads(connection.extra or "{}"), _MASK),
        "description": connection.description,
    }
    return {key: value for key, value in shown.items() if value}


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
