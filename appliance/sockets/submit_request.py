"""A request to start a run, and its answer: what ``submit`` and a worker exchange over a socket."""

from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Any

from appliance.config.model import Secrets
from appliance.errors import DagError
from appliance.temporal.messages import utc


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """What to run, as it was asked for."""

    dag_id: str
    """Or the file that has no other DAG than the one meant."""
    dag_file: str | None = None
    """Relative to the DAG folder."""
    conf: dict[str, Any] = field(default_factory=dict)
    logical_date: str | None = None
    """None: now, if it has one at all."""
    is_dated: bool = True
    """Whether it has a logical date."""
    run_id: str | None = None
    """None: made in Airflow's form, ``manual__<ISO time>``, by ``named``."""
    secrets: Secrets | None = None
    """Connections and variables of this run alone."""
    run_type: str = "manual"
    run_after: str | None = None
    """It waits queued until then; None: it is due now."""
    triggering_user: str | None = None
    token: str = ""
    """Whoever asks again with the same one, not knowing whether the run was started, gets the run that was."""

    def named(self, now: str) -> "SubmitRequest":
        """Return the same with its run id, logical date and token, so that it may be asked for again.

        Args:
            now: ISO 8601 time with a zone.

        Raises:
            DagError: the logical date is no time.
        """
        try:
            date = utc(self.logical_date or now) if self.is_dated else None
        except ValueError as err:
            raise DagError(f"the logical date is no ISO 8601 time: {err}") from err
        # As Airflow's, unique without a date.
        run_id = self.run_id or f"manual__{date or f'{now}_{token_hex(4)}'}"
        token = self.token or token_hex(8)
        return replace(self, run_id=run_id, logical_date=date, token=token)

    @property
    def is_file(self) -> bool:
        """Whether a file was named where a DAG id belongs, as ``dags/my_dag.py``."""
        is_path = "/" in self.dag_id or self.dag_id.endswith((".py", ".zip"))
        return is_path and self.dag_file is None

    @property
    def in_doubt(self) -> str:
        """Say what to do when nobody knows whether the run was started."""
        return (
            f"The run may have been started. Look: appliance runs wait {self.dag_id} "
            f"{self.run_id}. If it was not: submit again, with --run-id {self.run_id}"
        )


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that was started."""

    dag_id: str
    run_id: str
    workflow_id: str
    url: str
    """Its page in the bundled UI; empty when the server is somebody else's."""
