"""``depends_on_past`` and ``wait_for_downstream``: what tasks wait for in earlier runs of their DAG."""
