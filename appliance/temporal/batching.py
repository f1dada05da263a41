"""Batches requests to one workflow, and repeats them while the server restarts.

The server buffers a single query a workflow and takes few updates at once; what is asked meanwhile goes into one batch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from temporalio.client import RPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")
_T = TypeVar("_T")
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_PASSING = frozenset(
    (
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
    )
)


class Batching(Generic[_Question, _Answer]):
    """Asks questions, of which those that come while one is under way are asked together."""

    def __init__(
        self, ask: Callable[[list[_Question]], Awaitable[list[_Answer]]]
    ) -> None:
        """``ask`` returns the answers in the order of the questions."""
        self._ask = ask
        self._waiting: list[tuple[_Question, asyncio.Future[_Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, question: _Question) -> _Answer:
        """Return the answer. What ``ask`` raises, every question of its batch raises."""
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                found = await patiently(
                    partial(self._ask, [asked for asked, _ in batch])
                )
            except Exception as err:  # noqa: BLE001  # whoever asked gets it
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(err)
                continue
            for (_, answer), one in zip(batch, found, strict=True):
                if not answer.done():
                    answer.set_result(one)


class BatchingPerKey(Generic[_Question, _Answer]):
    """A ``Batching`` for each of those who are asked, as long as there is something to ask him."""

    def __init__(
        self, ask: Callable[[str, list[_Question]], Awaitable[list[_Answer]]]
    ) -> None:
        """``ask`` is told whom to ask, and returns the answers in the order of the questions."""
        self._ask = ask
        self._asked: dict[str, tuple[Batching[_Question, _Answer], int]] = {}

    async def __call__(self, name: str, question: _Question) -> _Answer:
        """Return the answer of ``name``."""
        one, users = self._asked.get(name) or (Batching(partial(self._ask, name)), 0)
        self._asked[name] = one, users + 1
        try:
            return await one(question)
        finally:
            one, users = self._asked.pop(name)
            if users > 1:
                self._asked[name] = one, users - 1


def each_once(
    ask: Callable[[list[_Question]], Awaitable[list[_Answer]]],
) -> Callable[[list[_Question]], Awaitable[list[_Answer]]]:
    """Ask what is asked several times only once: many tries ask the same, and an answer may be large."""

    async def asked(questions: list[_Question]) -> list[_Answer]:
        distinct = list(dict.fromkeys(questions))
        found = dict(zip(distinct, await ask(distinct), strict=True))
        return [found[question] for question in questions]

    return asked


async def patiently(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask again while the server restarts: no try is to fail for that."""
    for pause_s in _PAUSES_S:
        try:
            return await ask()
        except RPCTimeoutOrCancelledError:
            pass  # What an update says where a query has a status.
        except RPCError as err:
            if err.status not in _PASSING:
                raise
        await asyncio.sleep(pause_s)
    return await ask()
