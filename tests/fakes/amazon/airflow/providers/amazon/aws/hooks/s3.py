"""Stands where the Amazon provider's hook is."""


class S3Hook:
    """Airflow asks it for the connection logs go over unless told otherwise."""

    default_conn_name = "aws_default"
