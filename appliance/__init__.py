"""Runs standard Airflow DAG files on Temporal, without an Airflow installation to operate."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.cli.submission import submit_dag

__all__ = ["submit_dag"]


def __getattr__(name: str) -> object:
    """Import ``submit_dag`` when it is used: every process of the box imports this package."""
    if name == "submit_dag":
        from appliance.cli.submission import submit_dag

        return submit_dag
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
