"""What tries ask of their run: each thing once, and again while the server restarts."""

import asyncio
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from appliance.dagrun.attempt import XComRow
from appliance.runs.messages import XComQuestion
from appliance.runs.worker_client import WorkerRun
from appliance.temporal.keyring import Keyring
from tests.fakes.runs import RUN, FakeNeighbours


class FakeHandle:
    def __init__(self, *errors: RPCStatusCode) -> None:
        self.errors = list(errors)
        self.asked: list[list[XComQuestion]] = []

    async def query(
        self, _name: str, questions: list[XComQuestion], **_options: Any
    ) -> list[list[XComRow]]:
        self.asked.append(questions)
        await asyncio.sleep(0)
        if self.errors:
            raise RPCError("down", self.errors.pop(0), b"")
        return [[XComRow((q.task_ids or ("?",))[0], -1, "k", 1)] for q in questions]


class FakeClient:
    def __init__(self, handle: FakeHandle) -> None:
        self.handle = handle

    def get_workflow_handle(self, _workflow: str) -> FakeHandle:
        return self.handle


def run_asking(handle: FakeHandle) -> WorkerRun:
    client = cast(Client, FakeClient(handle))
    return WorkerRun(client, RUN, cast(Keyring, None), FakeNeighbours())


async def test_many_tries_that_ask_the_same_cost_one_answer() -> None:
    handle = FakeHandle()
    run = run_asking(handle)

    found = await asyncio.gather(
        *(run.xcoms(["a"], key="k") for _ in range(32)), run.xcoms(["b"], key="k")
    )

    assert [rows[0].task_id for rows in found] == ["a"] * 32 + ["b"]
    assert sum(map(len, handle.asked)) == 2


async def test_a_server_that_restarts_fails_no_try() -> None:
    handle = FakeHandle(RPCStatusCode.UNAVAILABLE)

    assert await run_asking(handle).xcoms(["a"], key="k")


async def test_a_run_that_is_gone_is_not_asked_again() -> None:
    handle = FakeHandle(RPCStatusCode.NOT_FOUND)

    with pytest.raises(RPCError):
        await run_asking(handle).xcoms(["a"], key="k")

    assert len(handle.asked) == 1
