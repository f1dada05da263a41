"""Schedules: one workflow decides which runs are due, as Airflow's scheduler does."""
