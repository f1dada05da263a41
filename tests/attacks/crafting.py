"""Crafted inputs: what the appliance sends itself, with some of it made into what nobody of ours sends."""

from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st

from tests.attacks.attacker import QUEUE, WAITS, a_try

NOON = "2026-01-02T12:00:00+00:00"
RUN = "dag-shop-manual__1"
TEXTS = [
    "",
    "..",
    "../../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "a\0b",
    "\ud800",
    "\n",
    "x" * 70_000,
    "os.system",
    "__class__",
    "__fail__",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31",
    "{{ conn.warehouse.password }}",
    "secret_word",
    "shop",
    "waiting",
    "sell",
    "ignored/evil.py",
    "../outside/evil.py",
]
NUMBERS = [0, -1, 1 << 31, 1 << 63, 1 << 200, 1e300, -0.0, True]
NASTY = st.one_of(
    st.sampled_from([*TEXTS, *NUMBERS, None, [], {}]),
    st.text(max_size=12),
    st.recursive(
        st.sampled_from([*TEXTS, *NUMBERS, None]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [*TEXTS, "__classname__", "__data__", "__type", "__var"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=6,
    ),
)
_ONE_IN = 12

CARD = {
    "run_id": "r",
    "workflow_id": "w",
    "run_type": "manual",
    "run_after": NOON,
    "state": "queued",
    "lane": "",
    "conf": {"a": 1},
    "execution": "",
}
LEASE = {
    "lease_id": "l",
    "workflow_id": "w",
    "task_id": "t",
    "map_index": -1,
    "slots": 1,
    "priority": 1,
}
SLOT = {"run_after": NOON, "run_id": "scheduled__x", "start": NOON, "end": NOON}
TIMETABLE = {
    "__type": "airflow.timetables.interval.CronDataIntervalTimetable",
    "__var": {"expression": "0 0 * * *", "timezone": "UTC"},
}
SCHEDULE = {
    "name": "n",
    "dag_id": "shop",
    "timetable": TIMETABLE,
    "summary": "daily",
    "source": "shop.py",
    "earliest": "2999-01-01T00:00:00+00:00",
    "max_active_runs": 1,
    "conf": {},
}
QUESTION: dict[str, Any] = {
    "dag_id": "shop",
    "dag_file": None,
    "conf": {},
    "run_id": "manual__1",
}
TIMES = {"ask": "due", "timetable": TIMETABLE, "now": NOON, "last": SLOT, "limit": 3}
ORDER = {"dag_id": "shop", "slot": {**SLOT, "run_id": "manual__a"}, "conf": {}}
ROW = {"task_id": "a", "map_index": -1, "key": "k", "value": "file:///etc/passwd"}
RESUME = {"next_method": "go_on", "sealed": None, "kwargs": {"event": 1}}
CALL = {"is_failure": True, "reason": "task_failure", "end_date": NOON}
PLAN = {"dag_id": "shop", "tasks": {"sell": {"retries": 1, "down": []}}}
DAG = {"dag_id": "shop", "file": "shop.py", "plan": PLAN, "pools": {}}
BACKFILL = {"dag_id": "shop", "from_date": NOON, "to_date": NOON}
CLOSING = {"dag_id": "d", "card": CARD, "tasks": ""}
STARTED = {
    "dag_id": "shop",
    "run_id": "manual__1",
    "logical_date": NOON,
    "conf": {"a": 1},
    "run_type": "manual",
    "run_after": NOON,
    "triggering_user": "me",
    "sealed": None,
    "lane": "",
    "max_active_runs": 3,
    "dag": DAG,
}

Way = Literal["activity", "start", "signal", "update", "query"]


@dataclass(frozen=True)
class Craft:
    """One thing to be asked."""

    way: Way
    name: str
    """Of the activity, the workflow type, the signal, the update or the query."""
    given: list[Any]
    at: str = QUEUE
    """The task queue of an activity; who a message is for."""


def altered(value: Any) -> st.SearchStrategy[Any]:
    """Make something else of parts of this JSON."""
    if isinstance(value, dict) and value:
        whole: Any = st.fixed_dictionaries({k: altered(v) for k, v in value.items()})
    elif isinstance(value, list) and value:
        whole = st.tuples(*map(altered, value)).map(list)
    else:
        whole = st.just(value)
    return st.integers(0, _ONE_IN - 1).flatmap(lambda n: NASTY if n == 0 else whole)


def _crafts() -> st.SearchStrategy[Craft]:
    wait = a_try(RUN, trigger={"classpath": "os.system", "sealed": "k:x"})
    activities = [
        ("run_airflow_task", a_try(RUN), QUEUE),
        ("run_airflow_task", a_try(RUN, resume=RESUME), QUEUE),
        ("run_airflow_task", a_try(RUN, callback=CALL), QUEUE),
        ("run_airflow_task", a_try(RUN, run_is_sealed=True), QUEUE),
        ("reattach_airflow_task", a_try(RUN), QUEUE),
        ("run_trigger", wait, WAITS),
        ("run_trigger", a_try(RUN, trigger={"classpath": None}), WAITS),
        ("read_dag", QUESTION, QUEUE),
        ("list_dags", None, QUEUE),
        ("resolve_xcoms", {"rows": [ROW], "start": 0}, QUEUE),
        ("find_holders", None, QUEUE),
        ("enter_run", {"dag_id": "d", "card": CARD, "limit": 1}, QUEUE),
        ("keep_place", {"dag_id": "d", "card": CARD, "limit": 1}, QUEUE),
        ("close_run", {**CLOSING, "rows": []}, QUEUE),
        ("find_lost_runs", "d", QUEUE),
        ("rebuild", "airflow-dag-d", QUEUE),
        (
            "await_past",
            {"dag_id": "d", "logical_date": NOON, "no_manual": False},
            QUEUE,
        ),
        ("ask_timetables", [TIMES], QUEUE),
        ("start_runs", [ORDER], WAITS),
        ("find_ended_runs", [{"dag_id": "d", "run_id": "r"}], QUEUE),
        ("plan_backfill", BACKFILL, QUEUE),
        ("tell_scheduler", {"dag_id": "shop", "slots": [SLOT]}, QUEUE),
        ("cancel_queued_runs", [{"dag_id": "d", "run_id": "r"}], QUEUE),
        ("want_slots", {"pool": "p", "lease": LEASE, "capacity": 1}, QUEUE),
        ("remind_pools", "none such", QUEUE),
        ("give_back_slots", {"pool": "p", "lease_ids": ["l"]}, QUEUE),
        ("find_lost_leases", "p", QUEUE),
        (
            "act_on_schedule",
            {"action": {"name": "n"}, "at": NOON, "started": NOON},
            QUEUE,
        ),
    ]
    starts = [
        ("ExecuteAirflowDagWorkflow", [STARTED]),
        ("ExecuteAirflowDagWorkflow", [{**STARTED, "dag": None}]),
        ("ExecuteAirflowDagWorkflow", [{**STARTED, "carried": "x"}]),
        ("AirflowDag", [{"dag_id": "d", "packed": None}]),
        ("AirflowPool", [{"pool": "p", "packed": None}]),
        ("AirflowVault", [{"items": {"": {"k": {"sealed": "x"}}}, "idle_s": 9.0}]),
        ("AirflowBackfill", [BACKFILL, {"packed": ""}]),
        ("AirflowScheduleAction", [{"name": "n", "timetable": TIMETABLE}]),
        ("AskApplianceWorker", [{"activity": "read_dag", "question": QUESTION}]),
    ]
    signals = [
        ("dag", "closed", [CLOSING]),
        ("dag", "lost", [[{"run_id": "r", "execution": ""}]]),
        ("pool", "give_back", [{"pool": "p", "lease_ids": ["l"]}]),
        ("scheduler", "covered", [{"dag_id": "shop", "slots": [SLOT]}]),
        ("scheduler", "carry", [["n"]]),
        ("scheduler", "ring", ["n"]),
        ("run", "slots_lent", [["l"]]),
        ("run", "admitted", [5]),
    ]
    updates = [
        ("dag", "enter", [[{"dag_id": "d", "card": CARD, "limit": 1}]]),
        ("pool", "want", [[{"pool": "p", "lease": LEASE, "capacity": 1}]]),
        ("scheduler", "declare", [{"changed": [SCHEDULE], "removed": ["m"]}]),
        ("scheduler", "steer", [{"verb": "pause", "names": ["n"], "conf": {}}]),
        ("run", "respond", [{"task_id": "wait", "chosen_options": ["x"]}]),
        ("vault", "write", [[{"kind": "put", "key": "k", "item": {"sealed": "x"}}]]),
    ]
    queries = [
        ("dag", "find", [{"run_ids": ["r"], "most": 1}]),
        ("scheduler", "schedules", ["n"]),
        ("run", "xcoms", [[{"task_ids": ["wait"], "start": 0}]]),
        ("vault", "read", [[{"scope": "", "key": "k"}]]),
    ]
    messages: list[Any] = [
        *(("start", name, given, "") for name, given in starts),
        *(("signal", name, given, to) for to, name, given in signals),
        *(("update", name, given, to) for to, name, given in updates),
        *(("query", name, given, to) for to, name, given in queries),
    ]
    return st.one_of(
        *(
            st.builds(Craft, st.just("activity"), st.just(name), one, st.just(queue))
            for name, given, queue in activities
            for one in [st.tuples(altered(given)).map(list)]
        ),
        *(
            st.builds(Craft, st.just(way), st.just(name), many, st.just(to))
            for way, name, given, to in messages
            for many in [altered(given).map(_listed)]
        ),
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


CRAFTS = _crafts()
