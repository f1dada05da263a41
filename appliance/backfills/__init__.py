"""Backfills: the runs of a past period, made by one workflow per DAG."""
