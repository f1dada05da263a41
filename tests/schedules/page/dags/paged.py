"""DAGs with schedules that Temporal knows how to tell, and with some it would tell otherwise."""

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from airflow.timetables.trigger import (
    CronTriggerTimetable,
    MultipleCronTriggerTimetable,
)

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
make(
    "several",
    MultipleCronTriggerTimetable("0 6 * * 1-5", "30 18 * * 6", timezone="Asia/Tokyo"),
)
make("early_in_paris", CronTriggerTimetable("30 5 * * *", timezone="Europe/Paris"))
make(
    "at_the_change_in_paris",
    CronTriggerTimetable("30 2 * * *", timezone="Europe/Paris"),
)
make("every_minute", "* * * * *")
make("day_or_weekday", "0 0 13 * 5")
make("second_friday", "0 0 * * 5#2")
make("last_day", "0 0 L * *")
make("apart", timedelta(hours=6))
make("soon", os.environ["SOON"], is_paused_upon_creation=False)
