"""DAGs with schedules, for the Schedules page of the Temporal UI."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def make(name, schedule, **more):
    @dag(dag_id=name, schedule=schedule, start_date=BEGIN, **more)
    def made():
        @task
        def done():
            return name

        done()

    made()


make("daily", "@daily")
make("hourly", "0 * * * *")
make("last_day", "0 0 L * *")
make("apart", timedelta(hours=6))
