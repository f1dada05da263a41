"""Airflow's own ``PrevDagrunDep`` over runs that have ended in any way. Imports Airflow: only for the oracle's process."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.tasklog import LogTemplate
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.dep_context import DepContext
from airflow.ti_deps.deps.prev_dagrun_dep import PrevDagrunDep
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType

from tests.parity.dags import EPOCH
from tests.parity.scheduler import Oracle, dag_model


def is_met(oracle: Oracle, case: Mapping[str, Any]) -> bool:
    """Tell whether task ``a`` of the last run may run; the runs are those of ``test_pasts.py``."""
    oracle._empty_tables()
    past = _Past(oracle, case)
    runs = [past.create(day, run) for day, run in enumerate(case["runs"])]
    return past.ask(runs[-1])


class _Past:
    def __init__(self, oracle: Oracle, case: Mapping[str, Any]) -> None:
        self.session = oracle.session
        with DAG("past", schedule=None, catchup=case["catchup"]) as dag:
            first = EmptyOperator(task_id="a", depends_on_past=True, **case["flags"])
            first >> EmptyOperator(task_id="b")
        if (start := case["start"]) is not None:
            first.start_date = EPOCH + timedelta(days=start)
        self.dag = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        add = self.session.add_all
        add(
            [
                DagBundleModel(name="oracle"),
                LogTemplate(filename="", elasticsearch_id=""),
            ]
        )
        self.session.flush()
        add([dag_model(self.dag)])
        self.session.flush()
        add([DagVersion(dag_id="past", version_number=1, bundle_name="oracle")])
        self.session.flush()

    def create(self, day: int, run: Mapping[str, Any]) -> Any:
        kind = DagRunType(run["type"])
        date = EPOCH + timedelta(days=day)
        created = self.dag.create_dagrun(
            run_id=f"{kind.value}__{day}",
            logical_date=date,
            data_interval=(date, date),
            run_after=date,
            run_type=kind,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            start_date=date,
            session=self.session,
        )
        for instance in created.get_task_instances(session=self.session):
            if instance.task_id in run["states"]:
                instance.state = run["states"][instance.task_id]
            elif day < run["last"]:
                self.session.delete(instance)
        self.session.flush()
        return created

    def ask(self, run: Any) -> bool:
        instance = run.get_task_instance("a", session=self.session)
        instance.task = self.dag.get_task("a")
        return bool(
            PrevDagrunDep().is_met(
                ti=instance, session=self.session, dep_context=DepContext()
            )
        )
