"""Prepare a call of some API with settings from Airflow Variables; nothing leaves the box.

Needs the variables ``api_key`` and ``environment``: in ``conf/appliance.yaml``, as
``AIRFLOW_VAR_API_KEY`` and ``AIRFLOW_VAR_ENVIRONMENT``, or for one run with
``submit --variables FILE``.
"""

from datetime import datetime

from airflow.models import Variable
from airflow.sdk.definitions.dag import dag
from airflow.sdk.definitions.decorators import task


@dag(
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["example"],
)
def api_pipeline():
    @task
    def configure() -> dict[str, str | bool]:
        environment = Variable.get("environment")
        return {
            "url": f"https://api.example.com/{environment}/orders",
            "has_key": bool(Variable.get("api_key")),
        }

    @task
    def fetch(settings: dict[str, str | bool]) -> list[dict[str, int]]:
        print(f"would call {settings['url']}")
        return [{"id": number, "amount": number * 10} for number in (1, 2, 3)]

    @task
    def report(orders: list[dict[str, int]]) -> int:
        return sum(order["amount"] for order in orders)

    report(fetch(configure()))


api_pipeline()
