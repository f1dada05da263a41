"""Starts runs: has the DAG read and checked, then starts the workflow that is the run."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from appliance.config.model import Config
from appliance.errors import DagError
from appliance.temporal import attributes, messages
from appliance.temporal.connection import ui_url, workflow_id
from appliance.temporal.keyring import Keyring
from appliance.temporal.limits import check_size, check_workflow_id, shortened
from appliance.temporal.messages import (
    DagAnswer,
    DagExecutionInput,
    DagQuestion,
    utc,
)
from appliance.temporal.reports import SubmitRequest, Submitted
from appliance.temporal.sealing import seal

Read = Callable[[DagQuestion], Awaitable[DagAnswer]]


class Starter:
    """Starts runs on one server."""

    def __init__(self, client: Client, config: Config, read: Read) -> None:
        """``read`` reads and checks a DAG."""
        self._client = client
        self._config = config
        self._read = read

    async def start(self, request: SubmitRequest) -> Submitted:
        """Check the DAG, then start the run.

        Raises:
            DagError: the DAG cannot be run so, or the run id is used already.
            ConfigError: its secrets cannot be sealed.
        """
        now = datetime.now(UTC).isoformat()  # noqa: TID251  # the run begins here
        try:
            date = utc(request.logical_date or now)
        except ValueError as err:
            raise DagError(f"the logical date is no ISO 8601 time: {err}") from err
        check_size(request.conf, "its conf is", "Put it in a file and pass its name.")
        run_id = request.run_id or f"manual__{date}"
        dag = await self._checked(request, run_id, date)
        name = workflow_id(request.dag_id, run_id)
        check_workflow_id(name)
        sealed = None
        if request.secrets is not None:
            sealed = seal(request.secrets, name, Keyring(self._config.key_file))
        given = DagExecutionInput(
            dag_id=request.dag_id,
            run_id=run_id,
            logical_date=date,
            conf=request.conf,
            run_after=date,
            dag_file=request.dag_file,
            sealed=sealed,
            dag=dag,
        )
        what = "conf, connections, variables and what is known of the DAG are"
        check_size(asdict(given), what, "Make the conf smaller.")
        await self._start(name, given, run_id)
        return Submitted(request.dag_id, run_id, name, ui_url(self._config, name))

    async def _checked(
        self, request: SubmitRequest, run_id: str, date: str
    ) -> DagAnswer:
        question = DagQuestion(
            request.dag_id, request.dag_file, request.conf, run_id, date
        )
        answer = await self._read(question)
        if answer.refusal is not None:
            raise DagError(answer.refusal)
        return answer

    async def _start(self, name: str, given: DagExecutionInput, run_id: str) -> None:
        is_searchable = given.dag is not None and given.dag.has_search_attributes
        found_by = attributes.of_run(
            given.dag_id, run_id, given.run_type, given.logical_date
        )
        try:
            await self._client.start_workflow(
                messages.WORKFLOW,
                given,
                id=name,
                task_queue=self._config.temporal.task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=found_by if is_searchable else None,
                static_summary=shortened(f"{given.dag_id} · {run_id}"),
            )
        except WorkflowAlreadyStartedError as err:
            raise DagError(
                f"{given.dag_id}: the run id {run_id!r} is used already. Choose "
                f"another, or look at that run: appliance runs wait {given.dag_id} "
                f"{run_id}"
            ) from err
