"""Table of all Task SDK messages that a task may send its supervisor, and their replies.

While it runs, the child asks over its request socket and blocks until it is answered; the one thing it is told
unasked is what to do (``StartupDetails``). Its logs come over another socket. Each family of messages
has its module, whose header says what it promises; here they meet, with the messages that
name a feature the appliance does not have yet. What a try said about its own end is only recorded:
``attempt`` decides what it means together with how the process ended.

A change violates this when it leaves a request without an answer, answers a question other runs
bear on as if there were none, or decides the state of a try.

Source: Airflow 3.3: ``sdk/execution_time/comms.py`` (ToSupervisor).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from appliance.config.model import Secrets
from appliance.dagrun.attempt import ActivityTaskInput, TaskExecutionResult
from appliance.dagrun.deferral import MASKS, Deferral
from appliance.dagrun.states import PARKED, TaskState
from appliance.forkserver.frames import Reply
from appliance.taskrun.assets import Asset, Assets
from appliance.taskrun.final_state import FinalState, FinalStateReplies
from appliance.taskrun.kv_store import KvStoresProtocol
from appliance.taskrun.masking import Masker
from appliance.taskrun.protocols import RunView
from appliance.taskrun.responses import Body, Handler, answered, later, rejected
from appliance.taskrun.run_queries import RunQueries
from appliance.taskrun.secrets import SecretAnswers
from appliance.taskrun.state_store import StateStores
from appliance.taskrun.trigger_dag_run import TriggerDagRunReplies
from appliance.taskrun.xcoms import MAX_MAP_LENGTH, Store, XComs

_LATER = {
    "GetAssetsByAlias": "looking up the assets of an alias is",
    "GetAssetEventByAsset": "asset events are",
    "GetAssetEventByAssetAlias": "asset events are",
    "GetHITLDetailResponse": "asking for an answer of a person by a trigger is",
    "UpdateHITLDetail": "answering for a person by a trigger is",
}


class Replies:
    """The answers to one try."""

    def __init__(
        self,
        task: ActivityTaskInput,
        *,
        run: RunView,
        secrets: Secrets,
        masker: Masker,
        store: Store,
        log_fd: Callable[[], int],
        kv_stores: KvStoresProtocol,
        assets: Sequence[Asset] = (),
        airflow_env: Mapping[str, str] | None = None,
        max_map_length: int = MAX_MAP_LENGTH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer for the try ``task``.

        Args:
            task: What the try was given.
            run: Where to ask about the rest of its run.
            secrets: Connections and Variables of the configuration.
            masker: Told every secret that is handed out.
            store: Puts an XCom the run has no room for elsewhere, returns the reference.
            log_fd: Opens another log channel and returns the child's end, which is closed after sending.
            kv_stores: Where it keeps what others may read.
            assets: What its DAG file declares.
            airflow_env: Airflow's settings.
            max_map_length: Airflow's ``core.max_map_length``.
            clock: Seconds from anywhere.
        """
        self._log_fd = log_fd
        self._masker = masker
        self._xcoms = XComs(
            task, run, store=store, clock=clock, max_map_length=max_map_length
        )
        self._endings = FinalStateReplies()
        own = run.secrets if task.run.is_sealed else _nothing
        answers = SecretAnswers(
            configured=secrets, own=own, written=kv_stores.variables, masker=masker
        )
        known = Assets(assets)
        self._stores = StateStores(task, kv_stores, known, airflow_env or {})
        self._handlers: dict[str, Handler] = {
            **self._xcoms.handlers(),
            **self._endings.handlers(),
            **RunQueries(task, run, clock=clock).handlers(),
            **TriggerDagRunReplies(task, run).handlers(),
            **answers.handlers(),
            **known.handlers(),
            **self._stores.handlers(),
            **{kind: later(feature) for kind, feature in _LATER.items()},
            "ResendLoggingFD": self._another_log,
        }

    @property
    def kinds(self) -> frozenset[str]:
        """The message types that have a handler."""
        return frozenset(self._handlers)

    @property
    def ending(self) -> FinalState:
        """What the try has said about its end so far."""
        return self._endings.ending

    async def answer(self, kind: str, body: Body) -> Reply:
        """Answer one message; what a handler raises goes to the child in the error slot."""
        handler = self._handlers.get(kind)
        if handler is None:
            return rejected(f"the appliance does not know the request {kind}")
        reply = await answered(handler, body)
        if kind == "SucceedTask":
            await self._stores.succeeded()
        return reply

    def outcome(
        self,
        state: TaskState,
        *,
        start_date: str,
        now: datetime,
        error: str | None = None,
        log: str | None = None,
    ) -> TaskExecutionResult:
        """Return what the try brings back, given the ``state`` it was found to be in.

        ``now`` stands for the end a child that was killed could not report.
        """
        ending = self.ending
        is_reported = ending.state == state and ending.end_date is not None
        retries = state == TaskState.UP_FOR_RETRY
        waits = state == TaskState.UP_FOR_RESCHEDULE
        ended = now.astimezone(UTC).isoformat()
        return TaskExecutionResult(
            state=state,
            start_date=start_date,
            end_date=ending.end_date if is_reported and ending.end_date else ended,
            xcoms=self._xcoms.pushed,
            deleted=self._xcoms.deleted,
            return_length=self._xcoms.return_length,
            retry_delay_s=ending.retry_delay_s if retries else None,
            reschedule_at=ending.reschedule_at if waits else None,
            deferral=self._parked() if state in PARKED else None,
            skipped=tuple(ending.skipped),
            rendered_map_index=self._masker.hide(ending.rendered_map_index),
            error=error,
            log=log,
        )

    def _parked(self) -> Deferral | None:
        """Return what the try waits for. What it knew is to be hidden by whoever goes on with what it hands on."""
        found = self.ending.deferral
        if found is None:
            return None
        sealed = found.sealed
        if known := self._masker.known:
            sealed = {**(sealed or {}), MASKS: sorted(known)}
        question = found.question
        if question is not None:
            texts = {name: question.get(name) for name in ("subject", "body")}
            question = {**question, **self._masker.hide(texts)}
        return replace(found, sealed=sealed, question=question)

    async def _another_log(self, _body: Body) -> Reply:
        fd = self._log_fd()
        return Reply(body={"type": "SentFDs", "fds": [fd]}, fds=(fd,))


async def _nothing() -> Secrets | None:
    return None
