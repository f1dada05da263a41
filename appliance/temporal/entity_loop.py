"""The loop of an entity workflow: takes over state, serves messages, watches holders, continues as new.

An entity workflow stands for something lasting: a DAG, a pool, the schedules of all DAGs. It begins with the state that its last
run handed on, or, after somebody terminated that, with what could be learned of it (activity ``rebuild``). What cannot
be read is waited for: none of them ever begins with nothing by mistake. Imported by workflows: deterministic.
"""

import asyncio
from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

from appliance.temporal import compression, messages

NOT_READY = "it has not taken over yet what an earlier one knew"
_MOST_EVENTS = 1000
_TIMEOUT = timedelta(seconds=60)
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)
_LOOK_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=60), backoff_coefficient=1.0
)


class EntityLoop(ABC):
    """An entity workflow that sends signals to runs, and watches the runs that others wait for.

    A subclass is the workflow: it has the messages and the state, and its ``run`` awaits ``serve``.
    """

    def __init__(self, packed: str | None) -> None:
        """``packed``: the state that its last run handed on; None: it is to be taken over first."""
        self.is_ready = packed is not None
        """Whether the state is known."""
        self._watching: asyncio.Task[None] | None = None
        self.restore(compression.unpacked(packed) if packed else {})

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Take this state, JSON as ``packed_state`` wrote it; ``{}``: nothing is known."""

    @abstractmethod
    def packed(self) -> str:
        """Return the state, packed."""

    @abstractmethod
    def has_signals(self) -> bool:
        """Whether there are signals to send."""

    @abstractmethod
    async def send_signals(self) -> None:
        """Send them all."""

    @abstractmethod
    def is_contended(self) -> bool:
        """Whether somebody waits for what a run has, which may be gone without a word."""

    @abstractmethod
    async def watch(self) -> None:
        """Learn which of those runs are gone; return when there is one, or nobody waits any more."""

    @abstractmethod
    def next_input(self) -> Any:
        """Return the input of the next run."""

    async def serve(self) -> NoReturn:
        """Never end, but continue as new."""
        if not self.is_ready:
            self.restore(await taken_over())
            self.is_ready = True
        while not is_long():
            await workflow.wait_condition(
                lambda: self.has_signals() or self._must_watch() or is_long()
            )
            if self._must_watch():
                self._watching = asyncio.create_task(self.watch())
            await self.send_signals()
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self.send_signals()
        workflow.continue_as_new(self.next_input())

    async def ready(self) -> None:
        """Wait until the state is known, as each message that changes it does first."""
        await workflow.wait_condition(lambda: self.is_ready)

    def known_state(self) -> str:
        """Return the state, packed.

        Raises:
            RuntimeError: it is not known yet.
        """
        self.refuse_until_ready()
        return self.packed()

    def refuse_until_ready(self) -> None:
        """Fail a query as long as the state is not known: nothing would be taken for all there is.

        Raises:
            RuntimeError: it is not known yet.
        """
        refuse_until_ready(is_ready=self.is_ready)

    def _must_watch(self) -> bool:
        is_idle = self._watching is None or self._watching.done()
        return is_idle and self.is_contended()


def is_long(most_events: int = _MOST_EVENTS) -> bool:
    """Whether the history has grown so long that the workflow continues as new."""
    return workflow.info().get_current_history_length() > most_events


def refuse_until_ready(*, is_ready: bool) -> None:
    """Fail a query for the state as long as that is not known: nothing would be taken for all there is.

    Raises:
        RuntimeError: it is not known yet.
    """
    if not is_ready:
        raise RuntimeError(NOT_READY)


async def taken_over() -> Any:
    """Return what the last workflow of this id knew, ``{}`` when there was none; wait as long as that cannot be read."""
    name = workflow.info().workflow_id
    try:
        found: str = await workflow.execute_local_activity(
            messages.REBUILD,
            name,
            result_type=str,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
            summary="what the last one knew",
        )
    except FailureError as err:  # of a local activity, itself
        if is_cancelled_exception(err):
            raise
        # A local activity would leave events at each look, and this may take until somebody has mended it.
        found = await workflow.execute_activity(
            messages.REBUILD,
            name,
            result_type=str,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_LOOK_AGAIN,
            summary="what the last one knew cannot be read: see `appliance health`",
        )
    return compression.unpacked(found)
