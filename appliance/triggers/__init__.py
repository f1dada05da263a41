"""Deferred waits: Airflow's own TriggerRunner in one process per worker, which holds no task slot."""
