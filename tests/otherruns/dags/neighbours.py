"""DAGs that start, watch and ask about each other's runs."""

from datetime import datetime, timedelta

from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import dag, get_current_context, task, task_group, timezone


@dag(schedule=None)
def child():
    @task
    def says(**context):
        conf = context["dag_run"].conf
        if conf.get("fails"):
            raise ValueError("as asked")
        return conf.get("word", "nothing")

    @task_group
    def group():
        @task
        def one():
            return 1

        one()

    says() >> group()


@dag(schedule=None)
def parent():
    """Starts a run of the child and waits for it."""
    starts = TriggerDagRunOperator(
        task_id="starts",
        trigger_dag_id="child",
        trigger_run_id="{{ dag_run.conf.child }}",
        conf={"word": "from the parent", "fails": "{{ dag_run.conf.fails }}" == "yes"},
        reset_dag_run=False,
        wait_for_completion=True,
        poke_interval=1,
    )

    @task
    def asks(**context):
        ti = context["ti"]
        child = context["dag_run"].conf["child"]
        return {
            "xcom": ti.xcom_pull(dag_id="child", run_id=child, task_ids="says"),
            "state": ti.get_dagrun_state("child", child),
            "count": ti.get_ti_count("child", run_ids=[child], states=["success"]),
            "states": ti.get_task_states("child", run_ids=[child]),
            "in_group": ti.get_ti_count(
                "child", run_ids=[child], task_group_id="group"
            ),
            "runs": ti.get_dr_count("child", run_ids=[child], states=["success"]),
        }

    starts >> asks()


@dag(schedule=None)
def defers():
    """Starts a run of the child and lets a trigger wait for it, and another for the same run by its date."""
    starts = TriggerDagRunOperator(
        task_id="starts",
        trigger_dag_id="child",
        trigger_run_id="{{ dag_run.conf.child }}",
        logical_date="{{ logical_date }}",
        wait_for_completion=True,
        deferrable=True,
        poke_interval=1,
    )
    waits = ExternalTaskSensor(
        task_id="waits",
        external_dag_id="child",
        external_task_ids=["says"],
        deferrable=True,
        poke_interval=1,
    )
    starts >> waits


@dag(schedule=None)
def asks_late():
    @task
    def asks(**context):
        child = context["dag_run"].conf["child"]
        ti = context["ti"]
        of_says = {"dag_id": "child", "run_id": child, "task_ids": "says"}
        return {
            "state": ti.get_dagrun_state("child", child),
            "states": ti.get_task_states("child", run_ids=[child]),
            "xcom": ti.xcom_pull(**of_says),
            "or_else": ti.xcom_pull(**of_says, map_indexes=-1, default="none"),
        }

    asks()


@dag(schedule=None)
def resets():
    TriggerDagRunOperator(
        task_id="starts",
        trigger_dag_id="child",
        trigger_run_id="{{ dag_run.conf.child }}",
        conf={"word": "ignored"},
        reset_dag_run=True,
        wait_for_completion=True,
        poke_interval=1,
    )


@dag(schedule="@yearly", start_date=datetime(2026, 1, 1), catchup=False)
def paused():
    @task
    def one():
        return 1

    one()


@dag(schedule=None)
def minds_pauses():
    for dag_id in ("paused", "child"):
        TriggerDagRunOperator(
            task_id=dag_id, trigger_dag_id=dag_id, fail_when_dag_is_paused=True
        )


@dag(schedule=None)
def skips_what_is_there():
    TriggerDagRunOperator(
        task_id="starts",
        trigger_dag_id="child",
        trigger_run_id="{{ dag_run.conf.child }}",
        skip_when_already_exists=True,
    )


@dag(schedule=None, start_date=datetime(2026, 1, 1))
def tells_its_dates():
    @task
    def dates(**context):
        run = context["dag_run"]
        return {
            "run_id": run.run_id,
            "logical_date": run.logical_date and run.logical_date.isoformat(),
            "interval_start": run.data_interval_start
            and run.data_interval_start.isoformat(),
            "has_ds": "ds" in context,
            "is_early": run.start_date < run.run_after,
        }

    dates()


class StartsSoon(TriggerDagRunOperator):
    """Starts a run that is due in a few seconds."""

    def execute(self, context):
        self.run_after = timezone.utcnow() + timedelta(seconds=4)
        super().execute(context)


@dag(schedule=None)
def starts_without_a_date():
    common = {"trigger_dag_id": "tells_its_dates", "wait_for_completion": True}
    TriggerDagRunOperator(
        task_id="undated", logical_date=None, poke_interval=1, **common
    )
    StartsSoon(task_id="soon", deferrable=True, poke_interval=1, **common)


@dag(schedule=None)
def starts_at_a_date():
    TriggerDagRunOperator(
        task_id="starts",
        trigger_dag_id="tells_its_dates",
        logical_date="{{ dag_run.conf.date }}",
        trigger_run_id="{{ dag_run.conf.child }}",
        skip_when_already_exists="{{ dag_run.conf.get('skips', '') }}",
        wait_for_completion=True,
        poke_interval=1,
    )


@dag(schedule=None)
def watcher():
    """Waits for the run of the child with the same logical date, and for a task and a group of it."""
    common = {"external_dag_id": "child", "poke_interval": 1, "mode": "reschedule"}
    failed = {"failed_states": ["failed"]}
    blocked = {"failed_states": ["failed", "upstream_failed"]}
    ExternalTaskSensor(task_id="run", **failed, **common)
    ExternalTaskSensor(task_id="task", external_task_id="says", **failed, **common)
    ExternalTaskSensor(
        task_id="group", external_task_group_id="group", **blocked, **common
    )
    ExternalTaskSensor(
        task_id="earlier", execution_delta=timedelta(days=-1), timeout=3, **common
    )


@dag(schedule=None)
def checks():
    checked = {"check_existence": True, "poke_interval": 1, "retries": 0}
    for mode in ({}, {"mode": "reschedule"}, {"deferrable": True}):
        (name,) = mode or ("poke",)
        common = {**checked, **mode}
        ExternalTaskSensor(task_id=f"dag_{name}", external_dag_id="typo", **common)
        common["external_dag_id"] = "child"
        ExternalTaskSensor(
            task_id=f"task_{name}", external_task_ids=["says", "typo"], **common
        )
        ExternalTaskSensor(
            task_id=f"group_{name}", external_task_group_id="typo", **common
        )
    ExternalTaskSensor(task_id="there", external_task_id="says", **common)


@dag(schedule=None)
def remembers():
    @task
    def fails_at_times(**context):
        if context["dag_run"].conf.get("fails"):
            raise ValueError("as asked")
        return context["run_id"]

    @task(trigger_rule="all_done")
    def looks_back(_):
        context = get_current_context()
        ti = context["ti"]
        before = ti.get_previous_dagrun()
        good = ti.get_previous_dagrun(state="success")
        instance = ti.get_previous_ti()
        return {
            "previous": before and before.run_id,
            "previous_state": before and before.state,
            "previous_success": good and good.run_id,
            "previous_instance": instance and [instance.run_id, instance.state],
            "prev_end_date_success": str(context["prev_end_date_success"] or ""),
            "prev_data_interval_start_success": str(
                context["prev_data_interval_start_success"] or ""
            ),
            "last_value": ti.xcom_pull(
                task_ids="fails_at_times", map_indexes=-1, include_prior_dates=True
            ),
        }

    @task(trigger_rule="all_done")
    def ends(_, **context):
        if context["dag_run"].conf.get("fails"):
            raise AirflowSkipException

    value = fails_at_times()
    ends(looks_back(value))


child()
parent()
paused()
minds_pauses()
defers()
asks_late()
resets()
tells_its_dates()
starts_without_a_date()
starts_at_a_date()
skips_what_is_there()
watcher()
checks()
remembers()
