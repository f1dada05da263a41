"""Starts a run: has a worker read and check the DAG, then starts the workflow."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from appliance.config.model import Config
from appliance.dagrun.run_record import RunRecord
from appliance.errors import DagError
from appliance.runs.messages import FACTS_QUERY, DagQuestion, RunSecretsAndConf
from appliance.sockets.submit_request import SubmitRequest, Submitted
from appliance.temporal import messages, search_attributes
from appliance.temporal.connection import ui_url, workflow_id
from appliance.temporal.keyring import Keyring
from appliance.temporal.limits import (
    check_conf,
    check_size,
    check_workflow_id,
    shortened,
)
from appliance.temporal.messages import DagAnswer, DagExecutionInput
from appliance.temporal.sealing import seal

_END_S = 60.0
Read = Callable[[DagQuestion], Awaitable[DagAnswer]]


class RunStarter:
    """Starts runs on one server."""

    def __init__(self, client: Client, config: Config, read: Read) -> None:
        """``read`` reads and checks a DAG."""
        self._client = client
        self._config = config
        self._read = read

    async def start(self, request: SubmitRequest) -> Submitted:
        """Check the DAG, then start the run.

        Raises:
            DagError: the DAG cannot be run so, or another request has used the run id.
            ConfigError: its secrets cannot be sealed.
        """
        name, given = await self._prepare(request)
        await self._start(name, given, WorkflowIDReusePolicy.REJECT_DUPLICATE)
        return Submitted(
            given.dag_id, given.run_id or "", name, ui_url(self._config, name)
        )

    async def start_again(self, request: SubmitRequest, card: RunRecord | None) -> None:
        """End a run if it still goes on, and start it again with what it was started with.

        Args:
            request: What to start if nothing is known of it any more.
            card: What is known of the run.

        Raises:
            DagError: the DAG cannot be run so, or the run does not end.
        """
        if card is not None:
            handle = self._client.get_workflow_handle(card.workflow_id)
            await _end(handle)
            facts = await _facts(handle)
            request = replace(
                request,
                conf=facts.conf if facts else request.conf,
                logical_date=card.logical_date,
                is_dated=card.logical_date is not None,
                run_type=card.run_type,
                run_after=card.run_after,
                triggering_user=card.triggering_user,
            )
            name, given = await self._prepare(request)
            given = replace(
                given, lane=card.lane, sealed=facts.sealed if facts else None
            )
        else:
            name, given = await self._prepare(request)
        await self._start(name, given, WorkflowIDReusePolicy.ALLOW_DUPLICATE)

    async def _prepare(self, asked: SubmitRequest) -> tuple[str, DagExecutionInput]:
        """Check the DAG; return the id of the workflow and its input."""
        now = datetime.now(UTC).isoformat()  # noqa: TID251  # the run begins here
        request = asked.named(now)
        run_id, date = request.run_id or "", request.logical_date
        check_conf(request.conf)
        due = replace(request, run_after=request.run_after or now)
        dag = await self._checked(due, run_id, date)
        if request.is_file:
            request = replace(request, dag_id=dag.dag_id, dag_file=dag.file)
        name = workflow_id(request.dag_id, run_id)
        check_workflow_id(name)
        sealed = None
        if request.secrets is not None:
            keys = Keyring(self._config.key_file)
            sealed = seal(request.secrets, name, keys, dag_id=request.dag_id)
        given = DagExecutionInput(
            dag_id=request.dag_id,
            run_id=run_id,
            logical_date=date,
            is_dated=request.is_dated,
            conf=request.conf,
            run_type=request.run_type,
            run_after=request.run_after,
            triggering_user=request.triggering_user,
            dag_file=request.dag_file,
            sealed=sealed,
            token=request.token,
            dag=dag,
        )
        what = "conf, connections, variables and what is known of the DAG are"
        check_size(asdict(given), what, "Make the conf smaller.")
        return name, given

    async def _checked(
        self, request: SubmitRequest, run_id: str, date: str | None
    ) -> DagAnswer:
        question = DagQuestion(
            "" if request.is_file else request.dag_id,
            request.dag_id if request.is_file else request.dag_file,
            request.conf,
            run_id,
            date,
            request.run_type,
            request.run_after,
        )
        answer = await self._read(question)
        if answer.refusal is not None:
            raise DagError(answer.refusal)
        return answer

    async def _start(
        self, name: str, given: DagExecutionInput, reuse: WorkflowIDReusePolicy
    ) -> None:
        run_id = given.run_id or ""
        is_searchable = given.dag is not None and given.dag.has_search_attributes
        found_by = search_attributes.of_run(
            given.dag_id, run_id, given.run_type, given.logical_date
        )
        try:
            await self._client.start_workflow(
                messages.WORKFLOW,
                given,
                id=name,
                task_queue=self._config.temporal.task_queue,
                id_reuse_policy=reuse,
                search_attributes=found_by if is_searchable else None,
                static_summary=shortened(f"{given.dag_id} · {run_id}"),
            )
        except WorkflowAlreadyStartedError as err:
            if await self._token_of(name) == given.token:
                return  # Whoever asked has not heard the answer.
            raise DagError(
                f"{given.dag_id}: the run id {run_id!r} is used already. Choose "
                f"another, or look at that run: appliance runs wait {given.dag_id} "
                f"{run_id}"
            ) from err

    async def _token_of(self, name: str) -> str | None:
        """Return the token the run was started with."""
        handle = self._client.get_workflow_handle(name)
        async for event in handle.fetch_history_events(page_size=1):
            started = event.workflow_execution_started_event_attributes
            (given,) = await self._client.data_converter.decode(
                started.input.payloads, [DagExecutionInput]
            )
            return given.token if isinstance(given, DagExecutionInput) else None
        return None


async def _end(handle: WorkflowHandle[Any, Any]) -> None:
    """End a run and wait until it has.

    Raises:
        DagError: it does not end.
    """
    try:
        await handle.cancel()
    except RPCError as err:
        if err.status == RPCStatusCode.NOT_FOUND:
            return  # It has ended already.
        raise
    try:
        with suppress(WorkflowFailureError):
            await asyncio.wait_for(handle.result(), _END_S)
    except TimeoutError as err:
        raise DagError(
            f"{handle.id} is to be started again, and has not ended {_END_S:g} s "
            "after it was cancelled"
        ) from err


async def _facts(handle: WorkflowHandle[Any, Any]) -> RunSecretsAndConf | None:
    """Return what a run was started with; None when nobody knows any more."""
    try:
        facts: RunSecretsAndConf = await handle.query(
            FACTS_QUERY, result_type=RunSecretsAndConf
        )
    except WorkflowQueryFailedError:
        return None
    except RPCError as err:
        if err.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return facts
