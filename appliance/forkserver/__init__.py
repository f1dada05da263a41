"""The warm interpreter: a process with Airflow imported that forks children on demand."""
