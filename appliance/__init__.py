"""Runs standard Airflow DAG files on Temporal, without an Airflow installation to operate."""
