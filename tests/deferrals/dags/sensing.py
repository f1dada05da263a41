"""Sensors, one DAG a fact."""

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseSensorOperator, PokeReturnValue


class Nth(BaseSensorOperator):
    """Is done at the nth poke; notes each beside the file it is given."""

    def __init__(self, nth: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nth = nth

    def poke(self, context: Any) -> PokeReturnValue:
        notes = Path(f"{context['dag_run'].conf['path']}.{self.task_id}.notes")
        with notes.open("a") as file:
            file.write(f"{context['ti'].start_date}\n")
        pokes = len(notes.read_text().splitlines())
        return PokeReturnValue(is_done=pokes >= self.nth, xcom_value=pokes)


class Count(BaseSensorOperator):
    """Returns how often it had been rescheduled at each of its pokes, by Airflow's count."""

    def poke(self, context: Any) -> PokeReturnValue:
        notes = Path(f"{context['dag_run'].conf['path']}.{self.task_id}.counts")
        with notes.open("a") as file:
            file.write(f"{context['task_reschedule_count']}\n")
        counts = [int(line) for line in notes.read_text().splitlines()]
        return PokeReturnValue(is_done=len(counts) == 4, xcom_value=counts)


RESCHEDULE: dict[str, Any] = {"mode": "reschedule", "poke_interval": 0.2}

with DAG("senses"):
    Nth(task_id="poke", nth=3, poke_interval=0.1)
    Nth(task_id="reschedule", nth=6, **RESCHEDULE)
    Nth(task_id="backoff", nth=4, exponential_backoff=True, max_wait=1, **RESCHEDULE)

with DAG("counts_its_pokes"):
    Count(task_id="late", mode="reschedule", poke_interval=0)
    Count(task_id="on_time", mode="reschedule", poke_interval=1)

with DAG("senses_in_vain"):
    Nth(task_id="fails", nth=999, timeout=1, retries=2, **RESCHEDULE)
    Nth(task_id="skips", nth=999, timeout=1, soft_fail=True, **RESCHEDULE)

with DAG("senses_one_at_a_time", max_active_tasks=1):
    Nth(task_id="sensor", nth=3, **RESCHEDULE)

with DAG("senses_for_ever"):
    Nth(task_id="wait", nth=999, mode="reschedule", poke_interval=3600)

with DAG("senses_slowly"):
    Nth(task_id="wait", nth=3, mode="reschedule", poke_interval=6)
