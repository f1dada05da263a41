"""Operators that defer, one DAG a fact."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import my_triggers
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, BaseOperator, task
from airflow.triggers.base import StartTriggerArgs

CANARY = "hunter2-canary"


class Deferring(BaseOperator):
    """Waits for a trigger and returns what that said."""

    template_fields = ("path",)

    def __init__(
        self,
        kind: str = "FileTrigger",
        path: str | None = None,
        state: str | None = None,
        wanted: int | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind, self.path, self.state, self.wanted = kind, path, state, wanted
        self.timeout = timeout

    def execute(self, context: Any) -> None:
        given = {"path": self.path, "state": self.state, "wanted": self.wanted}
        given = {name: value for name, value in given.items() if value is not None}
        if self.path:
            given["secret"] = CANARY
        self.defer(
            trigger=getattr(my_triggers, self.kind)(**given),
            method_name="go_on",
            kwargs={"token": CANARY, "began": context["ti"].start_date},
            timeout=timedelta(seconds=self.timeout) if self.timeout else None,
        )

    def go_on(self, context: Any, event: Any, token: str, began: datetime) -> Any:
        assert token == CANARY
        assert began == context["ti"].start_date
        return event


class StartsDeferred(Deferring):
    """Never runs before its trigger has fired."""

    start_from_trigger = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="my_triggers.FileTrigger",
            trigger_kwargs={"path": self.path},
            next_method="go_on",
            next_kwargs={"token": CANARY, "began": None},
            timeout=None,
        )

    def go_on(self, context: Any, event: Any, token: str, began: None) -> Any:
        return {**event, "ds": context["ds"]}


with DAG("waits_for_a_file"):
    Deferring(task_id="wait", path="{{ dag_run.conf['path'] }}")

with DAG("starts_from_its_trigger"):
    StartsDeferred(task_id="wait", path="{{ dag_run.conf['path'] }}-{{ ds }}")

with DAG("asks"):

    @task
    def before() -> int:
        return 41

    before() >> Deferring(task_id="wait", kind="AskingTrigger")

with DAG("breaks"):
    Deferring(task_id="wait", kind="BrokenTrigger", retries=0)

with DAG("times_out"):
    Deferring(task_id="wait", path="{{ dag_run.conf['path'] }}", timeout=8)
    TimeDeltaSensor(task_id="goes_on", delta=timedelta(days=10_000), deferrable=True)

with DAG("is_limited"):
    limit = timedelta(seconds=5)
    Deferring(
        task_id="wait", path="{{ dag_run.conf['path'] }}", execution_timeout=limit
    )


def telling(name: str) -> Callable[[Any], None]:
    def tell(context: Any) -> None:
        ti = context["ti"]
        print(f"{name} is told of try {ti.try_number} on {context['ds']}")

    return tell


with DAG("ends_tasks"):
    told = ("on_success_callback", "on_failure_callback", "on_retry_callback")
    for end in ("success", "failed", "skipped"):
        Deferring(
            task_id=end,
            kind="EndingTrigger",
            state=end,
            retries=1,
            retry_delay=timedelta(seconds=0.1),
            **{name: telling(name) for name in (*told, "on_skipped_callback")},
        )


def lingering(context: Any) -> None:
    place = Path(context["dag_run"].conf["place"])
    (place / "began").touch()
    while not (place / "open").exists():
        time.sleep(0.05)
    (place / "told").touch()


with DAG("tells_slowly"):
    Deferring(
        task_id="failed",
        kind="EndingTrigger",
        state="failed",
        on_failure_callback=lingering,
    )

with DAG("shares"):
    for number in range(3):
        Deferring(task_id=f"w{number}", kind="SharedTrigger", wanted=number)

with DAG("waits_for_moments"):
    TimeDeltaSensor(task_id="delta", delta=timedelta(seconds=1), deferrable=True)
    DateTimeSensorAsync(
        task_id="ends_there",
        target_time=datetime.now(UTC) + timedelta(seconds=1),  # noqa: TID251
        end_from_trigger=True,
    )
