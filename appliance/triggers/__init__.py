"""Deferred waits: Airflow's own TriggerRunner, thousands of triggers in one process that holds no slot for tries."""
