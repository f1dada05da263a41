"""Who gets the slots of a pool, and which of them a run asks for."""

import json
from typing import Any

from appliance.dagrun.events import (
    PoolsScarce,
    SlotsAwaited,
    SlotsGranted,
    TryResumed,
)
from appliance.dagrun.plan import Plan
from appliance.pools.model import MOST_WAITING, Pool, SlotLease
from tests.dagrun.builders import Transcript, plan


def lease(name: str, **facts: Any) -> SlotLease:
    return SlotLease(
        name, **{"workflow_id": "run", "task_id": name, "map_index": -1, **facts}
    )


def wants(
    pool: Pool, wish: SlotLease, capacity: int, *, is_in_force: bool = False
) -> bool:
    pool.want(wish, capacity, is_in_force=is_in_force)
    pool.lend()
    return wish.lease_id in pool.held


def test_slots_are_lent_until_there_are_none() -> None:
    pool = Pool()

    assert wants(pool, lease("a"), 2)
    assert wants(pool, lease("b"), 2)
    assert not wants(pool, lease("c"), 2)
    pool.give_back(["a"])
    assert [x.lease_id for x in pool.lend()] == ["c"]


def test_the_important_go_first_then_the_earlier_run_then_the_lower_index() -> None:
    pool = Pool()
    wants(pool, lease("holder"), 1)
    wishes: dict[str, dict[str, Any]] = {
        "second": {"priority": 5, "logical_date": "2026-01-01", "map_index": 1},
        "first": {"priority": 5, "logical_date": "2026-01-01", "map_index": 0},
        "third": {"priority": 5, "logical_date": "2026-01-02", "map_index": 0},
        "last": {"priority": 1},
    }
    for name, facts in wishes.items():
        wants(pool, lease(name, **facts), 1)

    order = []
    while pool.held:
        pool.give_back(list(pool.held))
        order += [x.lease_id for x in pool.lend()]
    assert order == ["first", "second", "third", "last"]


def test_one_that_wants_more_than_is_left_lets_others_pass() -> None:
    pool = Pool()
    wants(pool, lease("a"), 2)

    assert not wants(pool, lease("big", slots=2, priority=9), 2)
    assert wants(pool, lease("small"), 2)


def test_wanting_twice_takes_one_slot() -> None:
    pool = Pool()

    assert wants(pool, lease("a"), 1)
    assert wants(pool, lease("a"), 1)
    pool.give_back(["a"])
    assert wants(pool, lease("b"), 1)


def test_one_that_asks_again_brings_no_old_capacity_back() -> None:
    pool = Pool()
    wants(pool, lease("a"), 1)
    wants(pool, lease("b"), 1)
    assert not wants(pool, lease("c"), 2)

    assert wants(pool, lease("b"), 1)
    assert pool.capacity == 2
    assert wants(pool, lease("c"), 3, is_in_force=True)


def test_a_run_that_is_gone_keeps_nothing() -> None:
    pool = Pool()
    wants(pool, lease("a"), 1)
    wants(pool, lease("b", workflow_id="other"), 1)

    pool.give_back_all("run")

    assert [x.lease_id for x in pool.lend()] == ["b"]


def test_a_pool_can_be_put_away_and_taken_up_again() -> None:
    pool = Pool()
    wants(pool, lease("a"), 1)
    wants(pool, lease("b"), 1)

    assert Pool.from_json(json.loads(json.dumps(pool.to_json()))) == pool


def lent(chains: str, tasks: str, **rows: Any) -> Plan:
    groups = dict.fromkeys(tasks.split(), "pool")
    made = plan(chains, **rows)
    return Plan(
        made.dag_id, made.tasks, max_active_tasks=made.max_active_tasks, lent=groups
    )


def test_an_instance_asks_for_its_slots_before_it_starts_and_gives_them_back() -> None:
    run = Transcript(lent("a >> b", "a"))

    assert run.said == ["ask a 2"]
    assert run.receive(SlotsGranted("a", -1)) == ["start a 1"]
    assert run.end("a success") == ["start b 1", "return a"]


def test_others_need_not_wait_for_one_that_waits_for_a_slot() -> None:
    run = Transcript(lent("a, b, m", "a m", m={"map": [99]}))

    assert "start b 1" in run.said
    asked = [said for said in run.said if said.startswith("ask m")]
    assert len(asked) < 16  # no more than the run could run at once


def test_a_retry_asks_again() -> None:
    run = Transcript(lent("a", "a", a={"retries": 1, "delay": 0}))
    run.receive(SlotsGranted("a", -1))

    said = run.end("a up_for_retry")

    assert said[0] == "return a"
    assert run.receive(after_s=1000) == ["ask a 1"]


def test_a_deferred_instance_gives_back_what_does_not_count_deferred_ones() -> None:
    run = Transcript(lent("a", "a"))
    run.receive(SlotsGranted("a", -1))

    assert run.end("a deferred") == ["await a 1", "return a deferred"]
    assert run.receive(TryResumed("a", -1)) == ["ask a 1"]
    assert run.receive(SlotsGranted("a", -1)) == ["start a 1"]


def test_a_resumed_instance_keeps_no_slot_while_its_run_has_no_room() -> None:
    run = Transcript(lent("a, b", "a", dag={"max_active_tasks": 1}))
    run.receive(SlotsGranted("a", -1))
    assert run.end("a deferred") == ["await a 1", "start b 1", "return a deferred"]

    assert run.receive(TryResumed("a", -1)) == ["return a"]
    assert run.end("b success") == ["ask a 1"]


def test_slots_that_come_too_late_are_given_back() -> None:
    run = Transcript(lent("a >> b, c", "b", b={"rule": "always"}))
    run.receive(SlotsGranted("b", -1))

    assert run.receive(SlotsGranted("b", -1)) == []
    run.end("b success")
    assert run.receive(SlotsGranted("b", -1)) == ["return b"]


def test_who_asks_anew_competes_anew_for_what_it_kept() -> None:
    pool = Pool()
    pool.want(lease("deferred", priority=1), 1)
    pool.lend()
    pool.want(lease("better", priority=2), 1)

    pool.want(lease("deferred", priority=1, asks=2), 1)

    assert [x.lease_id for x in pool.lend()] == ["better"]


def test_a_late_reminder_takes_nothing_away() -> None:
    pool = Pool()
    pool.want(lease("a", asks=2), 1)
    pool.lend()
    pool.want(lease("b", priority=9), 1)

    assert wants(pool, lease("a", asks=1), 1)


def test_the_run_keeps_room_for_one_that_has_asked_until_it_has_to_wait() -> None:
    run = Transcript(lent("a, b", "a", a={"prio": 5}, dag={"max_active_tasks": 1}))

    assert run.said == ["ask a 5"]
    assert run.receive(SlotsAwaited("a", -1)) == ["start b 1"]


def test_slots_that_come_when_the_run_has_no_room_are_given_back() -> None:
    run = Transcript(lent("a, b", "a", a={"prio": 5}, dag={"max_active_tasks": 1}))
    run.receive(SlotsAwaited("a", -1))

    assert run.receive(SlotsGranted("a", -1)) == ["return a"]
    assert run.end("b success") == ["ask a 5"]


def test_no_more_instances_ask_than_their_task_may_run() -> None:
    run = Transcript(lent("m", "m", m={"map": [3], "max_run": 1}))

    assert run.said == ["ask m[0] 1"]
    run.receive(SlotsGranted("m", 0))
    assert run.end("m[0] success") == ["ask m[1] 1", "return m[0]"]


def test_the_best_asks_though_others_wait_already() -> None:
    run = Transcript(
        lent(
            "a, b >> c",
            "a c",
            c={"prio": 9},
            a={"prio": 2},
            b={"weight": "absolute"},
            dag={"max_active_tasks": 1},
        )
    )
    said = [*run.said, *run.receive(SlotsAwaited("a", -1)), *run.end("b success")]

    assert [one for one in said if one.startswith("ask")] == ["ask a 2", "ask c 9"]


def test_who_has_begun_without_asking_counts_even_beyond_the_capacity() -> None:
    pool = Pool()
    for name in ("a", "b", "c"):
        pool.want(lease(name, asks=0), 2, has_begun=True)

    assert not wants(pool, lease("d"), 2)
    assert not wants(pool, lease("a", asks=1), 2), "sent back: it competes like others"
    pool.give_back(["b"])
    assert [x.lease_id for x in pool.lend()] == ["a"]


def test_a_run_begins_to_ask_when_a_pool_becomes_scarce() -> None:
    run = Transcript(lent("a, b, c, d", "", dag={"max_active_tasks": 3}))
    assert run.said == ["start a 1", "start b 1", "start c 1"]

    scarce = PoolsScarce(dict.fromkeys("abcd", "p"), frozenset())
    assert run.receive(scarce) == ["hold a", "hold b", "hold c"]
    assert run.end("a success") == ["ask d 1", "return a"]

    sent_back = TryResumed("b", -1, has_begun=False)
    assert run.receive(SlotsAwaited("d", -1), sent_back) == ["ask b 1"]
    assert run.receive(SlotsGranted("b", -1)) == ["start b 1"]
    assert run.end("b success") == ["return b"]


def test_who_has_asked_for_less_asks_again_when_a_pool_becomes_scarce() -> None:
    run = Transcript(lent("a, b", "a b", dag={"max_active_tasks": 2}))
    assert run.receive(SlotsGranted("a", -1), SlotsAwaited("b", -1)) == ["start a 1"]

    scarce = PoolsScarce({"a": "p, q", "b": "p, q"}, frozenset())
    assert run.receive(scarce) == ["hold a", "ask b 1"]


def test_who_waits_beyond_the_bound_asks_again() -> None:
    """Those that would get slots last are not remembered."""
    pool = Pool()
    assert wants(pool, lease("holder"), 1)
    for number in range(MOST_WAITING):
        pool.want(lease(str(number), priority=5), 1)
    assert not wants(pool, lease("first", priority=9), 1)
    assert not wants(pool, lease("last", priority=1), 1)

    assert len(pool.waiting) == MOST_WAITING
    assert "first" in pool.waiting
    assert "last" not in pool.waiting
    lighter = pool.lighter()
    assert lighter is not None
    assert [*lighter.held] == ["holder"]
    assert len(lighter.waiting) == MOST_WAITING // 2
    assert "first" in lighter.waiting
    pool.give_back(["holder", *pool.waiting])
    assert wants(pool, lease("last", priority=1), 1)
    assert pool.lighter() is None
