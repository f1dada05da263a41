"""DAG files: which there are, what is in them, and whether a run of one may start."""
