"""The runs of one DAG among each other: which may run now under ``max_active_runs``, and what is remembered of those that ended."""
