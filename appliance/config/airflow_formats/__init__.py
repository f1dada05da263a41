"""Reads what Airflow itself writes: connections, variables, their export files, and Astro projects."""
