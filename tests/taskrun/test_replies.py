"""One row a message of the Task SDK: what it is answered."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appliance.config.model import Connection, Secrets
from appliance.dagrun.attempt import XComRow
from appliance.dagrun.deferral import Deferral
from appliance.dagrun.run_record import RunRecord
from appliance.dagrun.states import RunState, TaskState
from appliance.forkserver.frames import Reply
from appliance.taskrun.masking import Masker
from appliance.taskrun.protocols import InstanceRow
from appliance.taskrun.replies import Replies
from tests.fakes.kv_stores import FakeVaults
from tests.fakes.runs import (
    NOON,
    RUN,
    FakeNeighbour,
    FakeNeighbours,
    FakeRun,
    a_try,
)

NOW = datetime(2026, 1, 2, 12, 0, 5, tzinfo=UTC)
OWN = {"dag_id": "shop", "run_id": "manual__1"}
HERE: dict[str, Any] = {**OWN, "task_id": "items", "key": "return_value"}
ASK: dict[str, Any] = {
    "dag_id": "shop",
    "map_index": None,
    "task_ids": ["items"],
    "task_group_id": None,
    "logical_dates": None,
    "run_ids": ["manual__1"],
}
TI = {"ti_id": "01234567-89ab-cdef-0123-456789abcdef"}
STORE = {"key": "k", "value": {"n": [1]}}
HERE_ASSET = {"ByName": {"name": "a"}, "ByUri": {"uri": "s3://a"}}
ASSET = {"name": "a", "uri": "s3://a", "group": "asset", "extra": {"owner": "me"}}
EARLIER = "2026-01-01T12:00:00+00:00"
BEFORE: dict[str, Any] = {
    **OWN,
    "run_id": "manual__0",
    "logical_date": EARLIER,
    "data_interval_start": EARLIER,
    "data_interval_end": NOON,
    "run_after": EARLIER,
    "start_date": EARLIER,
    "end_date": EARLIER,
    "run_type": "manual",
    "state": "success",
    "conf": None,
    "triggering_user_name": None,
    "consumed_asset_events": [],
    "partition_key": None,
}
DONE = None
OK = {"type": "OKResponse", "ok": True}

TABLE: list[tuple[str, dict[str, Any], dict[str, Any] | str | None]] = [
    ("SucceedTask", {"end_date": NOW, "task_outlets": [{"name": "a"}]}, DONE),
    ("TaskState", {"state": "failed", "end_date": NOW}, DONE),
    ("RetryTask", {"end_date": NOW, "retry_delay_seconds": 3.0}, DONE),
    ("RescheduleTask", {"end_date": NOW, "reschedule_date": NOW}, DONE),
    (
        "DeferTask",
        {"classpath": "x", "trigger_kwargs": {}, "next_method": "y"},
        DONE,
    ),
    ("AwaitInputTask", {"next_method": "x", "timeout": "PT5S"}, DONE),
    ("SkipDownstreamTasks", {"tasks": ["a", ["b", 2]]}, DONE),
    ("SetRenderedFields", {"rendered_fields": {"bash_command": "ls"}}, DONE),
    ("SetRenderedMapIndex", {"rendered_map_index": "monday"}, DONE),
    (
        "GetXCom",
        {**HERE, "map_index": 1},
        {"type": "XComResult", "key": "return_value", "value": 11},
    ),
    (
        "GetXCom",
        {**HERE, "map_index": None},
        {"type": "XComResult", "key": "return_value", "value": None},
    ),
    (
        "GetXCom",
        {**HERE, "run_id": "manual__0", "map_index": 1},
        {"type": "XComResult", "key": "return_value", "value": 21},
    ),
    (
        "GetXCom",
        {**HERE, "run_id": "unknown"},
        {"type": "XComResult", "key": "return_value", "value": None},
    ),
    (
        "GetXCom",
        {**HERE, "key": "k", "include_prior_dates": True},
        {"type": "XComResult", "key": "k", "value": "earlier"},
    ),
    (
        "GetXComSequenceSlice",
        {**HERE, "include_prior_dates": True, "start": 0, "stop": 4, "step": None},
        {"type": "XComSequenceSliceResult", "root": [20, 10, 21, 11]},
    ),
    ("SetXCom", {**HERE, "run_id": "other", "value": 1}, "another DAG run is"),
    ("GetXComCount", HERE, {"type": "XComCountResponse", "len": 3}),
    (
        "GetXComSequenceItem",
        {**HERE, "offset": -1},
        {"type": "XComSequenceIndexResult", "root": 12},
    ),
    (
        "GetXComSequenceItem",
        {**HERE, "offset": 3},
        {
            "type": "ErrorResponse",
            "error": "XCOM_NOT_FOUND",
            "detail": {**HERE, "offset": 3},
        },
    ),
    (
        "GetXComSequenceSlice",
        {**HERE, "start": None, "stop": None, "step": -1},
        {"type": "XComSequenceSliceResult", "root": [12, 11, 10]},
    ),
    ("SetXCom", {**HERE, "value": {"a": 1}, "map_index": None}, DONE),
    ("SetXCom", {**HERE, "value": [], "mapped_length": 1025}, "too large to map"),
    ("SetXCom", {**HERE, "value": float("nan")}, "not JSON compliant"),
    ("SetXCom", {**HERE, "key": "", "value": 1}, "non-empty string"),
    ("DeleteXCom", HERE, DONE),
    ("GetTICount", {**ASK, "states": None}, {"type": "TICount", "count": 3}),
    ("GetTICount", {**ASK, "states": ["null"]}, {"type": "TICount", "count": 1}),
    (
        "GetTICount",
        {**ASK, "run_ids": ["manual__0"], "states": ["success"]},
        {"type": "TICount", "count": 2},
    ),
    (
        "GetTICount",
        {**ASK, "run_ids": None, "logical_dates": [EARLIER], "states": None},
        {"type": "TICount", "count": 2},
    ),
    (
        "GetTICount",
        {**ASK, "task_ids": None, "task_group_id": "group", "states": None},
        {"type": "TICount", "count": 1},
    ),
    ("GetTICount", {**ASK, "task_group_id": "g", "states": None}, "Task group g not"),
    ("GetTaskStates", {**ASK, "task_group_id": "g"}, "Task group g not found"),
    (
        "GetTaskStates",
        ASK,
        {
            "type": "TaskStatesResult",
            "task_states": {
                "manual__1": {
                    "items_0": "success",
                    "items_1": "failed",
                    "items_2": None,
                }
            },
        },
    ),
    (
        "GetTaskStates",
        {**ASK, "run_ids": None, "logical_dates": [datetime.fromisoformat(EARLIER)]},
        {
            "type": "TaskStatesResult",
            "task_states": {"manual__0": {"items_0": "success", "items_1": "success"}},
        },
    ),
    (
        "GetTaskBreadcrumbs",
        OWN,
        {
            "type": "TaskBreadcrumbsResult",
            "breadcrumbs": [
                {
                    "task_id": "items",
                    "map_index": index,
                    "state": state,
                    "operator": None,
                    "duration": 1.5,
                }
                for index, state in enumerate(("success", "failed"))
            ],
        },
    ),
    (
        "GetDRCount",
        {**OWN, "run_ids": ["manual__1"], "logical_dates": None, "states": None},
        {"type": "DRCount", "count": 1},
    ),
    (
        "GetDRCount",
        {**OWN, "run_ids": None, "logical_dates": None, "states": ["success"]},
        {"type": "DRCount", "count": 1},
    ),
    (
        "GetDRCount",
        {**OWN, "run_ids": ["manual__0"], "logical_dates": None, "states": ["failed"]},
        {"type": "DRCount", "count": 0},
    ),
    (
        "GetDagRun",
        OWN,
        {
            "type": "DagRunResult",
            **OWN,
            "logical_date": NOON,
            "data_interval_start": NOON,
            "data_interval_end": NOON,
            "run_after": NOON,
            "start_date": NOON,
            "end_date": None,
            "run_type": "manual",
            "state": "running",
            "conf": {"day": 1},
            "triggering_user_name": None,
            "consumed_asset_events": [],
            "partition_key": None,
        },
    ),
    ("GetDagRunState", OWN, {"type": "DagRunStateResult", "state": "running"}),
    (
        "GetDagRunState",
        {**OWN, "run_id": "manual__0"},
        {"type": "DagRunStateResult", "state": "success"},
    ),
    ("GetDagRunState", {**OWN, "run_id": "unknown"}, "'unknown' was not found"),
    ("GetDagRun", {**OWN, "run_id": "unknown"}, "'unknown' was not found"),
    ("GetDagRun", {**OWN, "run_id": "manual__0"}, {"type": "DagRunResult", **BEFORE}),
    (
        "GetPrevSuccessfulDagRun",
        TI,
        {
            "type": "PrevSuccessfulDagRunResult",
            "data_interval_start": EARLIER,
            "data_interval_end": NOON,
            "start_date": EARLIER,
            "end_date": EARLIER,
        },
    ),
    (
        "GetPreviousDagRun",
        {"dag_id": "shop", "logical_date": datetime.fromisoformat(NOON)},
        {"type": "PreviousDagRunResult", "dag_run": BEFORE},
    ),
    (
        "GetPreviousDagRun",
        {"dag_id": "shop", "logical_date": NOON, "state": "failed"},
        {"type": "PreviousDagRunResult", "dag_run": None},
    ),
    (
        "GetPreviousTI",
        {"dag_id": "shop", "task_id": "items", "logical_date": NOON, "map_index": 1},
        {
            "type": "PreviousTIResult",
            "task_instance": {
                "task_id": "items",
                "dag_id": "shop",
                "run_id": "manual__0",
                "logical_date": EARLIER,
                "start_date": EARLIER,
                "end_date": NOON,
                "state": "success",
                "try_number": 2,
                "map_index": 1,
                "duration": 1.5,
            },
        },
    ),
    (
        "GetPreviousTI",
        {"dag_id": "shop", "task_id": "items", "state": "failed"},
        {"type": "PreviousTIResult", "task_instance": None},
    ),
    (
        "GetTaskRescheduleStartDate",
        TI,
        {"type": "TaskRescheduleStartDate", "start_date": NOON},
    ),
    (
        "GetDag",
        {"dag_id": "shop"},
        {
            "type": "DagResult",
            "dag_id": "shop",
            "is_paused": True,
            "bundle_name": "dags-folder",
            "bundle_version": None,
            "relative_fileloc": None,
            "owners": "me",
            "tags": ["t"],
            "next_dagrun": None,
        },
    ),
    ("GetDag", {"dag_id": "unknown"}, "no DAG"),
    (
        "FindTasks",
        {"dag_id": "shop"},
        {
            "type": "XComResult",
            "key": "tasks",
            "value": {"tasks": ["group.one", "group.two"], "groups": ["group"]},
        },
    ),
    ("FindTasks", {"dag_id": "unknown"}, "no DAG"),
    (
        "ValidateInletsAndOutlets",
        TI,
        {"type": "InactiveAssetsResult", "inactive_assets": []},
    ),
    (
        "GetConnection",
        {"conn_id": "db"},
        {
            "type": "ConnectionResult",
            "conn_id": "db",
            "conn_type": "postgres",
            "host": "db.local",
            "schema": "shop",
            "login": None,
            "password": "pa55word",
            "port": 5432,
            "extra": None,
        },
    ),
    (
        "GetVariable",
        {"key": "color"},
        {"type": "VariableResult", "key": "color", "value": "red"},
    ),
    (
        "GetVariableKeys",
        {"prefix": "c", "limit": 1000, "offset": 0},
        {"type": "VariableKeysResult", "keys": ["color"], "total_entries": 1},
    ),
    ("PutVariable", {"key": "a", "value": "b"}, DONE),
    ("DeleteVariable", {"key": "a"}, OK),
    ("MaskSecret", {"value": "topsecret", "name": None}, DONE),
    ("ResendLoggingFD", {}, {"type": "SentFDs", "fds": [7]}),
    (
        "GetTaskStateStore",
        {**TI, "key": "k"},
        {
            "type": "ErrorResponse",
            "error": "TASK_STORE_NOT_FOUND",
            "detail": {"key": "k"},
        },
    ),
    ("SetTaskStateStore", {**TI, **STORE, "expires_at": NOW}, OK),
    ("DeleteTaskStateStore", {**TI, "key": "k"}, OK),
    ("ClearTaskStateStore", TI, OK),
    ("TriggerDagRun", {"dag_id": "other", "run_id": "r", "logical_date": NOON}, OK),
    (
        "TriggerDagRun",
        {"dag_id": "other", "run_id": "manual__0"},
        {"type": "ErrorResponse", "error": "DAGRUN_ALREADY_EXISTS", "detail": {}},
    ),
    (
        "TriggerDagRun",
        {"dag_id": "other", "run_id": "r", "logical_date": None, "run_after": NOON},
        OK,
    ),
    ("GetAssetByName", {"name": "a"}, {"type": "AssetResult", **ASSET}),
    ("GetAssetByUri", {"uri": "s3://a"}, {"type": "AssetResult", **ASSET}),
    (
        "GetAssetByUri",
        {"uri": "a"},
        {"type": "ErrorResponse", "error": "ASSET_NOT_FOUND", "detail": {"uri": "a"}},
    ),
    ("GetAssetsByAlias", {"alias_name": "a"}, "looking up the assets of an alias is"),
    ("GetAssetEventByAsset", {"name": "a", "uri": None}, "asset events are"),
    ("GetAssetEventByAssetAlias", {"alias_name": "a"}, "asset events are"),
    (
        "CreateHITLDetailPayload",
        {**TI, "options": ["a"], "subject": "s"},
        {"type": "HITLDetailRequestResult", **TI, "options": ["a"], "subject": "s"},
    ),
    ("GetHITLDetailResponse", TI, "asking for an answer of a person"),
    ("UpdateHITLDetail", TI, "answering for a person"),
]
for way in ("ByName", "ByUri"):
    TABLE += [
        (
            f"GetAssetStateStore{way}",
            {**HERE_ASSET[way], "key": "k"},
            {
                "type": "ErrorResponse",
                "error": "ASSET_STORE_NOT_FOUND",
                "detail": {"key": "k"},
            },
        ),
        (f"SetAssetStateStore{way}", {**HERE_ASSET[way], **STORE}, OK),
        (f"DeleteAssetStateStore{way}", {**HERE_ASSET[way], "key": "k"}, OK),
        (f"ClearAssetStateStore{way}", HERE_ASSET[way], OK),
    ]


class Trial:
    """A try, its run and its answers; time stands still unless told otherwise."""

    def __init__(
        self,
        view: FakeRun | None = None,
        *,
        kv_stores: FakeVaults | None = None,
        airflow_env: dict[str, str] | None = None,
        **task: Any,
    ) -> None:
        self.run = view or FakeRun()
        self.kv_stores = kv_stores or FakeVaults()
        self.masker = Masker()
        self.stored: list[XComRow] = []
        self.now_s = 0.0
        self.replies = Replies(
            a_try(**task),
            assets=[ASSET, {**ASSET, "uri": "s3://again"}],
            run=self.run,
            kv_stores=self.kv_stores,
            airflow_env=airflow_env,
            secrets=Secrets(
                connections={
                    "db": Connection(
                        conn_id="db",
                        conn_type="postgres",
                        host="db.local",
                        schema="shop",
                        password="pa55word",  # noqa: S106 - made up
                        port=5432,
                    )
                },
                variables={"color": "red", "size": "xl"},
            ),
            masker=self.masker,
            store=self.store,
            log_fd=lambda: 7,
            clock=lambda: self.now_s,
        )

    async def store(self, row: XComRow) -> object:
        self.stored.append(row)
        return f"file:///xcom/{row.key}"

    def ask(self, kind: str, /, **body: Any) -> Reply:
        return asyncio.run(self.replies.answer(kind, body))

    def push(self, key: str, value: Any, **body: Any) -> Reply:
        return self.ask("SetXCom", **OWN, task_id="sum", key=key, value=value, **body)

    def pull(self, key: str, task_id: str = "sum") -> Any:
        reply = self.ask("GetXCom", **OWN, task_id=task_id, key=key)
        assert reply.body is not None
        return reply.body["value"]


def items() -> FakeRun:
    return FakeRun(
        others=FakeNeighbours([earlier()]),
        rows=[
            XComRow("items", index, "return_value", 10 + index) for index in (2, 0, 1)
        ],
        tasks=[
            InstanceRow("items", index, state, 1.5)
            for index, state in enumerate(("success", "failed", None))
        ]
        + [InstanceRow("group.one", -1, None)],
    )


def earlier() -> FakeNeighbour:
    card = RunRecord(
        run_id="manual__0",
        workflow_id="dag-shop-manual__0",
        run_type="manual",
        run_after=EARLIER,
        logical_date=EARLIER,
        data_interval_start=EARLIER,
        data_interval_end=NOON,
        state=RunState.SUCCESS,
        start_date=EARLIER,
        end_date=EARLIER,
    )
    tasks = [
        InstanceRow("items", index, "success", 1.5, 2, EARLIER, NOON)
        for index in range(2)
    ]
    rows = [XComRow("items", index, "return_value", 20 + index) for index in range(2)]
    return FakeNeighbour(card, tasks, [*rows, XComRow("items", -1, "k", "earlier")])


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    TABLE,
    ids=[f"{number}-{row[0]}" for number, row in enumerate(TABLE)],
)
def test_every_message_has_its_answer(
    kind: str, body: dict[str, Any], expected: dict[str, Any] | str | None
) -> None:
    """A text is what the task is told when it is refused; None is an empty frame."""
    reply = Trial(items(), first_start=NOON).ask(kind, **body)

    if isinstance(expected, str):
        assert reply.error is not None
        assert expected in reply.error["detail"]["message"]
    else:
        assert expected == reply.body
        assert reply.error is None


def test_the_table_has_every_handler() -> None:
    assert {row[0] for row in TABLE} == Trial().replies.kinds


@pytest.mark.needs_airflow
def test_every_message_of_the_installed_sdk_has_a_handler() -> None:
    """Airflow may not learn a new question unnoticed."""
    from airflow.sdk.execution_time import comms, schema

    kinds = {model.__name__ for model in schema._iter_model_types(comms.ToSupervisor)}

    assert kinds | {"FindTasks"} == Trial().replies.kinds


@pytest.mark.needs_airflow
def test_the_sdk_understands_every_answer() -> None:
    """The child checks what it gets with pydantic; a missing field would fail the task."""
    from airflow.sdk.execution_time.comms import ToTask
    from pydantic import TypeAdapter

    adapter: TypeAdapter[object] = TypeAdapter(ToTask)
    for kind, body, _ in TABLE:
        reply = Trial(items(), first_start=NOON).ask(kind, **body)
        if reply.error is not None:
            adapter.validate_python({"type": "ErrorResponse", **reply.error})
        elif reply.body is not None:
            adapter.validate_python(reply.body)


def test_unknown_message_is_answered_too() -> None:
    """Silence would block the task for ever."""
    reply = Trial().ask("GetWeather")

    assert reply.error is not None
    assert "GetWeather" in reply.error["detail"]["message"]


def test_own_xcoms_win_over_sent_ones_and_those_over_the_run() -> None:
    run = FakeRun(rows=[XComRow("sum", -1, "a", "run"), XComRow("sum", -1, "b", "run")])
    trial = Trial(run)
    trial.push("a", "mine")

    assert trial.pull("a") == "mine"
    assert run.asked == []
    assert trial.pull("b") == "run"


def test_deleted_xcom_is_gone_until_pushed_again() -> None:
    trial = Trial(
        FakeRun(rows=[XComRow("sum", -1, "a", 1), XComRow("sum", -1, "b", 2)])
    )
    for key in ("a", "b"):
        trial.ask("DeleteXCom", **OWN, task_id="sum", key=key)
    trial.push("b", 3)

    assert trial.pull("a") is None
    assert trial.pull("b") == 3
    outcome = trial.replies.outcome(TaskState.SUCCESS, start_date=NOON, now=NOW)
    assert outcome.deleted == (XComRow("sum", -1, "a"),)
    assert outcome.xcoms == (XComRow("sum", -1, "b", 3),)


def test_complete_upstream_is_not_asked_for() -> None:
    trial = Trial(
        items(), xcoms=(XComRow("items", 0, "k", "sent"),), complete=("items",)
    )

    assert trial.ask("GetXComCount", **{**HERE, "key": "k"}).body == {
        "type": "XComCountResponse",
        "len": 1,
    }
    assert trial.ask("GetXComCount", **HERE).body == {
        "type": "XComCountResponse",
        "len": 0,
    }
    assert trial.run.asked == []


def test_a_loop_over_mapped_xcoms_asks_the_run_once() -> None:
    trial = Trial(items())
    for offset in range(4):
        trial.ask("GetXComSequenceItem", **HERE, offset=offset)

    assert trial.run.asked == [(("items",), "return_value")]


def test_a_try_that_waits_for_an_xcom_sees_it_come() -> None:
    trial = Trial()
    assert trial.pull("ready", "items") is None
    trial.run.rows.append(XComRow("items", -1, "ready", value=True))
    trial.now_s += 5

    assert trial.pull("ready", "items") is True


def test_xcoms_above_the_budget_go_to_the_store() -> None:
    trial = Trial(xcom_budget_bytes=2000)
    trial.push("first", "a" * 1500)
    trial.push("second", "b" * 1500)
    trial.push("first", "c" * 1600)
    trial.push("small", "d" * 10)

    assert [row.key for row in trial.stored] == ["second"]
    assert trial.pull("second") == "file:///xcom/second"
    outcome = trial.replies.outcome(TaskState.SUCCESS, start_date=NOON, now=NOW)
    assert [row.key for row in outcome.xcoms] == ["second", "first", "small"]


def test_own_return_length_is_brought_back() -> None:
    trial = Trial()
    trial.push("return_value", [1, 2, 3], mapped_length=3)

    outcome = trial.replies.outcome(TaskState.SUCCESS, start_date=NOON, now=NOW)
    assert outcome.return_length == 3


def test_the_outcome_tells_what_the_try_reported() -> None:
    trial = Trial()
    trial.ask("SetRenderedMapIndex", rendered_map_index="early")
    trial.ask("SkipDownstreamTasks", tasks=["a", ["b", 2]])
    trial.ask("SucceedTask", end_date=NOW, rendered_map_index="late")

    outcome = trial.replies.outcome(
        TaskState.SUCCESS, start_date=NOON, now=NOW + timedelta(seconds=9), log="a.log"
    )
    assert outcome.end_date == NOW.isoformat()
    assert outcome.skipped == (("a", -1), ("b", 2))
    assert outcome.rendered_map_index == "late"
    assert outcome.log == "a.log"


def test_reschedule_and_retry_carry_their_times() -> None:
    trial = Trial()
    trial.ask("RescheduleTask", end_date=NOW, reschedule_date=NOW + timedelta(hours=1))
    waits = trial.replies.outcome(TaskState.UP_FOR_RESCHEDULE, start_date=NOON, now=NOW)
    trial.ask("RetryTask", end_date=NOW, retry_delay_seconds=3.5)
    retries = trial.replies.outcome(TaskState.UP_FOR_RETRY, start_date=NOON, now=NOW)

    assert waits.reschedule_at == "2026-01-02T13:00:05+00:00"
    assert (retries.retry_delay_s, retries.reschedule_at) == (3.5, None)


def test_a_try_that_defers_says_what_it_waits_for() -> None:
    trial = Trial()
    trial.ask(
        "DeferTask",
        classpath="mine.Trigger",
        trigger_kwargs={"password": "x"},
        trigger_timeout="PT1H",
        next_method="go_on",
        next_kwargs={"a": 1},
    )

    outcome = trial.replies.outcome(TaskState.DEFERRED, start_date=NOON, now=NOW)
    assert outcome.deferral == Deferral(
        "go_on",
        {"next_kwargs": {"a": 1}, "trigger_kwargs": {"password": "x"}},
        classpath="mine.Trigger",
        timeout_s=3600.0,
    )


def test_a_wait_for_a_moment_needs_no_trigger() -> None:
    moment = {"__classname__": "pendulum.datetime.DateTime", "__version__": 2}
    moment["__data__"] = {"timestamp": 1.5, "tz": None}
    trial = Trial()
    trial.ask(
        "DeferTask",
        classpath="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
        trigger_kwargs={"moment": moment, "end_from_trigger": True},
        next_method="go_on",
    )

    outcome = trial.replies.outcome(TaskState.DEFERRED, start_date=NOON, now=NOW)
    assert outcome.deferral == Deferral(
        "go_on", moment=1.5, event=moment, ends_task=True
    )


def test_secrets_handed_out_are_masked() -> None:
    trial = Trial()
    trial.ask("GetConnection", conn_id="db")
    trial.ask("MaskSecret", value=["hunter22"], name=None)

    assert trial.masker.hide("pa55word and hunter22") == "*** and ***"


def test_a_run_without_secrets_of_its_own_is_not_asked_for_them() -> None:
    trial = Trial()
    trial.ask("GetVariable", key="color")
    assert trial.run.asked == []

    sealed = Trial(
        FakeRun(own=Secrets(variables={"color": "blue"})),
        run=replace(RUN, is_sealed=True),
    )
    for _ in range(2):
        body = sealed.ask("GetVariable", key="color").body
        assert body == {"type": "VariableResult", "key": "color", "value": "blue"}
    assert sealed.run.asked == ["secrets"]


def test_the_state_of_a_task_is_its_instances_own_and_survives_retries() -> None:
    kv_stores = FakeVaults()
    first = Trial(kv_stores=kv_stores, map_index=1)
    first.ask("SetTaskStateStore", **TI, **STORE, expires_at=None)

    retry = Trial(kv_stores=kv_stores, map_index=1, try_number=2, ti_id="another")
    other = Trial(kv_stores=kv_stores, map_index=2)

    found = retry.ask("GetTaskStateStore", **TI, key="k").body
    missed = other.ask("GetTaskStateStore", **TI, key="k").body
    assert found == {"type": "TaskStateStoreResult", "value": {"n": [1]}}
    assert missed is not None
    assert missed["error"] == "TASK_STORE_NOT_FOUND"


@pytest.mark.parametrize("setting", ["True", "False"])
def test_state_goes_with_success_only_if_airflow_is_told_so(setting: str) -> None:
    env = {"AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS": setting}
    trial = Trial(airflow_env=env)
    trial.ask("SetTaskStateStore", **TI, **STORE, expires_at=None)
    trial.ask("SucceedTask", end_date=NOW)

    found = trial.ask("GetTaskStateStore", **TI, key="k").body
    assert found is not None
    assert ("error" in found) == (setting == "True")


def test_an_asset_has_one_state_by_whichever_name() -> None:
    kv_stores = FakeVaults()
    Trial(kv_stores=kv_stores).ask("SetAssetStateStoreByName", name="a", **STORE)

    by_uri = Trial(kv_stores=kv_stores).ask(
        "GetAssetStateStoreByUri", uri="s3://a", key="k"
    )
    unknown = Trial().ask("SetAssetStateStoreByName", name="x", **STORE)

    assert by_uri.body == {"type": "AssetStateStoreResult", "value": {"n": [1]}}
    assert unknown.error is not None
    assert "Asset with name='x' not found" in unknown.error["detail"]["message"]


def test_who_goes_on_with_a_parked_try_is_told_what_to_hide() -> None:
    """What it hands on may hold secrets that nobody asks for again; the question is read by people."""
    trial = Trial()
    trial.ask("MaskSecret", value="hunter22", name=None)
    trial.ask(
        "CreateHITLDetailPayload", **TI, subject="Is it hunter22?", options=["no"]
    )
    trial.ask("AwaitInputTask", next_method="go_on", next_kwargs=None, timeout=None)

    outcome = trial.replies.outcome(TaskState.AWAITING_INPUT, start_date=NOON, now=NOW)

    assert outcome.deferral is not None
    assert outcome.deferral.sealed == {"masks": ["hunter22"]}
    assert outcome.deferral.question is not None
    assert outcome.deferral.question["subject"] == "Is it ***?"
    assert outcome.deferral.question["options"] == ["no"]
