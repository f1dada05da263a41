"""A try outlives the activity that reports it, for a while."""

import asyncio

from appliance.dagrun.attempt import ActivityTaskInput, RunFacts, TaskExecutionResult
from appliance.dagrun.states import TaskState
from appliance.runs.running_attempts import RunningAttempts

T0 = "2026-01-01T00:00:00+00:00"
FACTS = RunFacts("d", "r", "manual", T0, T0, T0, T0, T0, "d.py")
DONE = TaskExecutionResult(TaskState.SUCCESS, T0, T0)


def task(name: str) -> ActivityTaskInput:
    return ActivityTaskInput(FACTS, name, -1, 1, 0, ti_id=name)


def ignore() -> None:
    """Whoever opens a lease hears when it begins; these tests need not."""


class Tries:
    """Tries that end when told to."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.may_end = asyncio.Event()

    async def __call__(self, given: ActivityTaskInput) -> TaskExecutionResult:
        self.running.append(given.task_id)
        await self.may_end.wait()
        return DONE


async def test_a_try_whose_lease_ran_out_is_found_again() -> None:
    tries = Tries()
    leases = RunningAttempts(tries, parallelism=1)
    leases.open(task("a"), ignore)
    leases.abandon("a")

    again = leases.reopen("a")
    tries.may_end.set()

    assert again is not None
    assert await again == DONE
    assert tries.running == ["a"]


async def test_an_end_that_was_not_heard_is_told_again() -> None:
    """The server may be down when a try ends, for longer than the SDK tries to tell it."""
    tries = Tries()
    tries.may_end.set()
    leases = RunningAttempts(tries, parallelism=1)
    await leases.open(task("a"), ignore)
    leases.close("a")

    again = leases.reopen("a")

    assert again is not None
    assert await again == DONE
    assert leases.close("a")
    assert tries.running == ["a"]


async def test_the_last_ends_alone_are_remembered() -> None:
    tries = Tries()
    tries.may_end.set()
    leases = RunningAttempts(tries, parallelism=1)
    for number in range(100):
        await leases.open(task(f"t{number}"), ignore)
        leases.close(f"t{number}")

    assert leases.reopen("t99") is not None
    assert leases.reopen("t0") is None


async def test_no_more_tries_run_at_once_than_the_box_has_slots() -> None:
    tries = Tries()
    leases = RunningAttempts(tries, parallelism=2)
    held = [leases.open(task(name), ignore) for name in "abc"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tries.running == ["a", "b"]
    assert [leases.has_begun(name) for name in "abc"] == [True, True, False]

    tries.may_end.set()
    await asyncio.gather(*held)
    assert tries.running == ["a", "b", "c"]


async def test_ends_are_told_together_while_other_tries_wait() -> None:
    tries = Tries()
    leases = RunningAttempts(tries, parallelism=2)
    held = [leases.open(task(name), ignore) for name in "abcdef"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    telling = [asyncio.create_task(leases.together()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(told.done() for told in telling)

    tries.may_end.set()  # so that the others get their slots
    await asyncio.gather(*held, *telling)


async def test_nobody_is_kept_waiting_when_no_try_waits() -> None:
    leases = RunningAttempts(Tries(), parallelism=2)
    leases.open(task("a"), ignore)
    await asyncio.sleep(0)

    async with asyncio.timeout(0):
        await leases.together()


async def test_a_try_that_is_held_back_leaves_its_slot_to_others() -> None:
    tries = Tries()
    leases = RunningAttempts(tries, parallelism=1)
    held = {name: leases.open(task(name), ignore) for name in "abc"}
    await asyncio.sleep(0)
    leases.hold_back("b")

    tries.may_end.set()
    await asyncio.gather(held["a"], held["c"])

    assert tries.running == ["a", "c"]
    assert not leases.has_begun("b")
    held["b"].cancel()
