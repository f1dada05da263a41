"""Which schedules there should be, according to the DAG folder and the configuration. Pure."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from appliance.config.model import Config, ScheduleSettings
from appliance.config.schedules import PRESETS
from appliance.dagfile.models import ListedDag, Listing
from appliance.dagrun.timing import ScheduleDeclaration
from appliance.schedules.messages import KnownSchedule

_CRON = "airflow.timetables.trigger.CronTriggerTimetable"
_CRON_INTERVAL = "airflow.timetables.interval.CronDataIntervalTimetable"
_DELTA = "airflow.timetables.trigger.DeltaTriggerTimetable"
_INTERVALS = "AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS"
_FIELDS = frozenset(field.name for field in fields(ScheduleDeclaration))


@dataclass(frozen=True, slots=True)
class WantedSchedules:
    """The schedules there should be, and why others cannot be."""

    declarations: tuple[ScheduleDeclaration, ...]
    problems: tuple[str, ...]


def unreadable(listing: Listing, known: Iterable[KnownSchedule]) -> set[str]:
    """Return the ids of scheduled DAGs that may be in a file that cannot be read now."""
    broken = listing.errors
    ids = {dag.dag_id for dag in listing.dags}
    return {
        one.dag_id
        for one in known
        if any(error.hides(one.source) for error in broken)
        or (broken and one.is_configured and one.dag_id not in ids)
    }


def wanted_schedules(
    listing: Listing, config: Config, kept: Collection[str] = ()
) -> WantedSchedules:
    """Return the schedules there should be.

    Args:
        listing: The DAG folder.
        config: The configuration.
        kept: Ids of DAGs that stay scheduled although their files cannot be read now.
    """
    own: list[ScheduleDeclaration] = []
    if config.dags.schedules != "ignore":
        is_paused = config.dags.schedules == "paused"
        own = [*_of_files(listing.dags, is_paused=is_paused)]
    ids = {dag.dag_id: dag.refusal for dag in listing.dags}
    problems = [str(error) for error in listing.errors]
    configured: list[ScheduleDeclaration] = []
    for schedule in config.schedules:
        if schedule.dag_id in ids or schedule.dag_id in kept:
            taken = {*ids, *kept}
            declaration = _of_configuration(schedule, config, taken)
            if refusal := ids.get(schedule.dag_id):
                declaration = replace(declaration, remark=refusal, is_barred=True)
            configured.append(declaration)
        else:
            problems.append(_unknown(schedule, ids))
    return WantedSchedules((*own, *configured), tuple(problems))


def _of_files(
    dags: Iterable[ListedDag], *, is_paused: bool
) -> Iterator[ScheduleDeclaration]:
    for dag in dags:
        timing = dag.timing
        if timing is None or not timing["allows_scheduled"]:
            continue
        declared = {key: value for key, value in timing.items() if key in _FIELDS}
        if declared["is_paused"] is None:
            declared["is_paused"] = is_paused
        yield ScheduleDeclaration(
            name=dag.dag_id,
            dag_id=dag.dag_id,
            summary=dag.schedule or "",
            source=dag.file,
            remark=dag.refusal or dag.remark or "",
            is_barred=dag.refusal is not None,
            **declared,
        )


def _of_configuration(
    schedule: ScheduleSettings, config: Config, taken: set[str]
) -> ScheduleDeclaration:
    has_intervals = config.airflow_env.get(_INTERVALS, "").lower() in ("true", "t", "1")
    summary = schedule.cron or f"every {schedule.every_s:g} s"
    return ScheduleDeclaration(
        name=f"{schedule.name}.yaml" if schedule.name in taken else schedule.name,
        dag_id=schedule.dag_id,
        timetable=_timetable(schedule, has_intervals=has_intervals),
        summary=summary,
        source=schedule.place,
        is_configured=True,
        earliest=schedule.start,
        latest=schedule.end,
        catchup=schedule.catchup,
        is_paused=schedule.is_paused,
        max_active_runs=schedule.max_active_runs,
        conf=schedule.conf,
    )


def _timetable(schedule: ScheduleSettings, *, has_intervals: bool) -> dict[str, Any]:
    """Return the timetable that Airflow would make of it, as JSON of its serialized DAG."""
    if schedule.cron is None:
        return {
            "__type": _DELTA,
            "__var": {"delta": schedule.every_s, "interval": 0.0},
        }
    body = {
        "expression": PRESETS.get(schedule.cron, schedule.cron),
        "timezone": schedule.timezone,
    }
    if has_intervals:
        return {"__type": _CRON_INTERVAL, "__var": body}
    trigger = {"interval": 0.0, "run_immediately": False}
    return {"__type": _CRON, "__var": body | trigger}


def _unknown(schedule: ScheduleSettings, ids: Iterable[str]) -> str:
    near = get_close_matches(schedule.dag_id, list(ids), n=1)
    hint = f', did you mean "{near[0]}"?' if near else ""
    return (
        f"{schedule.place}: schedules.{schedule.name}: there is no DAG "
        f'"{schedule.dag_id}"{hint}'
    )
