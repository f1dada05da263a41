"""Checks by Airflow's own rules whether a run may start with the given values. Child side.

Source: Airflow 3.3: ``serialization/definitions/dag.py`` (``create_dagrun``),
``api_fastapi/core_api/datamodels/dag_run.py`` (``validate_context``), and for runs that tasks start
``api/common/trigger_dag.py``.
"""

import os
import re
import socket
from typing import Any, NoReturn

from airflow._shared.timezones import timezone
from airflow.configuration import conf
from airflow.models.base import ID_LEN
from airflow.models.dagrun import RUN_ID_REGEX
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.types import DagRunType

from appliance.dagfile import params
from appliance.dagfile.dag_location import DagLocation, output_to
from appliance.forkserver import datagrams
from appliance.forkserver.airflow_internals import dag_files, secrets


def check(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """Check a run of a DAG and report; then end.

    The report is ``{data_interval: [start, end] or null}`` or ``{error}``.

    Args:
        args: As ``DagLocation`` reads them, and the fields of the question.
        fds: The channel, the socket for questions, and where to write output.
    """
    channel = socket.socket(fileno=fds[0])
    place = DagLocation.of(args)
    with (
        output_to(fds[2]),
        dag_files.questions_to(socket.socket(fileno=fds[1])),
    ):
        try:
            answer: dict[str, Any] = {"data_interval": _checked(place, args)}
        except Exception as error:  # noqa: BLE001 - whatever Airflow or a timetable says
            text = str(error) or type(error).__name__
            answer = {"error": secrets.without_secrets(text)}
    datagrams.send(channel, {"op": "ready", **answer})
    os._exit(0)


def _checked(place: DagLocation, asked: dict[str, Any]) -> list[str] | None:
    dag = dag_files.read_file(place.path, place.root).dags[asked["dag_id"]]
    scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    run_type = DagRunType(asked["run_type"])
    allowed = scheduled.allowed_run_types
    if allowed and run_type not in {DagRunType(kind) for kind in allowed}:
        raise ValueError(f"the DAG allows no {run_type.value} runs (allowed_run_types)")
    if asked["run_id"] is not None:
        _check_run_id(asked["run_id"], run_type)
    params.check(asked["dag_id"], scheduled.params, asked["conf"])
    if asked["logical_date"] is None:
        return None
    date = _time(asked["logical_date"])
    if run_type == DagRunType.OPERATOR_TRIGGERED:
        _check_date(date, scheduled.default_args.get("start_date"))
        date = _time(asked["run_after"])
    interval = scheduled.timetable.infer_manual_data_interval(run_after=date)
    return [interval.start.isoformat(), interval.end.isoformat()]


def _check_date(date: Any, start_date: Any) -> None:
    if start_date and date < start_date:
        raise ValueError(
            f"Logical date [{date.isoformat()}] should be >= start_date "
            f"[{start_date.isoformat()}] from Dag's default_args"
        )


def _check_run_id(run_id: str, run_type: DagRunType) -> None:
    if len(run_id) > ID_LEN:
        raise ValueError(
            f"the run_id has {len(run_id)} characters; Airflow keeps at most {ID_LEN}"
        )
    is_tolerant = conf.getboolean("core", "allow_double_dot_in_ids", fallback=False)
    if ".." in run_id and not is_tolerant:
        raise ValueError(
            f"The run_id '{run_id}' must not contain '..' to prevent path traversal"
        )
    pattern = conf.get("scheduler", "allowed_run_id_pattern").strip()
    if not re.match(RUN_ID_REGEX, run_id) and not (
        pattern and re.match(pattern, run_id)
    ):
        raise ValueError(
            f"The run_id provided '{run_id}' does not match regex pattern "
            f"'{pattern}' or '{RUN_ID_REGEX}'"
        )
    reserved_for = DagRunType.from_run_id(run_id)
    if run_type == DagRunType.MANUAL and reserved_for != DagRunType.MANUAL:
        raise ValueError(
            f"A {run_type.value} DAG run cannot use ID {run_id!r} since it is "
            f"reserved for {reserved_for.value} runs"
        )


def _time(text: str) -> Any:
    try:
        return timezone.convert_to_utc(timezone.parse(text))
    except ValueError as error:
        raise ValueError(f"the logical date {text!r} is no ISO 8601 time") from error
