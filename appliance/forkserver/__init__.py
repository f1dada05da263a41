"""Fork server: a process with Airflow imported that forks children on demand."""
