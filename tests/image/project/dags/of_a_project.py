"""Uses all that an Astro-style project has."""

from datetime import datetime
from pathlib import Path

from airflow.sdk import Connection, Variable, dag, task
from include.greeting import greeting


@dag(start_date=datetime(2026, 1, 1), schedule=None)
def of_a_project():
    @task
    def look():
        shop = Connection.get("shop")
        return {
            "greeting": greeting("project"),
            "colour": Variable.get("colour"),
            "shop": [shop.host, shop.port, shop.password, shop.extra_dejson["sslmode"]],
            "include": Path("/usr/local/airflow/include/greeting.py").exists(),
        }

    look()


of_a_project()
