"""Transcripts of whole runs: what is reported, and what the machine says to it."""

import json
import pickle

import pytest

from appliance.dagrun.events import (
    CancelRequested,
    PastMet,
    StartTask,
    TimeReached,
    TryLost,
    TryResumed,
    WaitEnded,
)
from appliance.dagrun.expansion import (
    GroupPosition,
    dependent_indexes,
    relevant_indexes,
)
from appliance.dagrun.machine import DagRun
from appliance.dagrun.states import TaskState
from appliance.dagrun.task_instances import InstanceFacts
from tests.dagrun.builders import Transcript, plan


def test_a_task_starts_when_its_upstreams_have_succeeded() -> None:
    run = Transcript(plan("a >> c, b >> c"))

    assert run.said == ["start a 1", "start b 1"]
    assert run.end("b success") == []
    assert run.end("a success") == ["start c 1"]
    assert run.end("c success") == ["finish success success"]


def test_a_run_without_tasks_succeeds_at_once() -> None:
    assert Transcript(plan("a", a={"empty": True})).said == ["finish success success"]


def test_empty_operators_are_not_run() -> None:
    run = Transcript(plan("a >> e >> b", e={"empty": True}))

    assert run.end("a success") == ["start b 1"]
    assert run.states == "a=success b=running e=success"


def test_a_failure_reaches_all_heirs() -> None:
    run = Transcript(plan("a >> b >> c, a >> d", d={"rule": "all_done"}))

    assert run.end("a failed") == ["start d 1"]
    assert run.end("d success") == ["finish failed task_failure"]
    assert run.states == "a=failed b=upstream_failed c=upstream_failed d=success"


def test_a_failure_above_a_leaf_that_succeeds_fails_no_run() -> None:
    run = Transcript(plan("a >> b", b={"rule": "all_done"}))
    run.end("a failed")

    assert run.end("b success") == ["finish success success"]


def test_which_upstream_ended_first_decides_between_skipped_and_failed() -> None:
    skipped, failed = (
        Transcript(plan("a >> c, b >> c")),
        Transcript(plan("a >> c, b >> c")),
    )
    skipped.end("b skipped")
    failed.end("a failed")

    assert skipped.end("a failed") == ["finish success success"]
    assert failed.end("b skipped") == ["finish failed task_failure"]


def test_a_branch_skips_what_it_did_not_choose() -> None:
    run = Transcript(
        plan(
            "pick >> left >> join, pick >> right >> join",
            pick={"skipmixin": True},
            join={"rule": "none_failed_min_one_success"},
        )
    )
    picked = run.ended(
        "pick success", skipped=(("right", -1),), skip_verdict=("followed", ("left",))
    )

    assert run.receive(picked) == ["start left 1"]
    assert run.states == "join=None left=running pick=success right=skipped"
    assert run.end("left success") == ["start join 1"]


def test_a_branch_that_decides_late_stops_a_child_already_running() -> None:
    run = Transcript(
        plan(
            "a >> c, pick >> c, pick >> d",
            c={"rule": "one_success"},
            pick={"skipmixin": True},
        )
    )
    run.end("a success")
    picked = run.ended(
        "pick success", skipped=(("c", -1),), skip_verdict=("followed", ("d",))
    )

    assert run.receive(picked) == ["stop c 1", "start d 1"]
    assert run.states == "a=success c=skipped d=running pick=success"


def test_a_short_circuit_skips_all_below_but_teardowns() -> None:
    run = Transcript(
        plan("gate >> a >> b", gate={"skipmixin": True}, b={"rule": "all_done"})
    )
    shut = run.ended(
        "gate success",
        skipped=(("a", -1), ("b", -1)),
        skip_verdict=("skipped", ("a", "b")),
    )

    assert run.receive(shut) == ["finish success success"]
    assert run.states == "a=skipped b=skipped gate=success"


def test_teardown_waits_for_all_between_and_fails_no_run() -> None:
    run = Transcript(
        plan(
            "up >> a >> b >> down, up >> down, b >> c",
            up={"setup": True},
            down={"teardown": True, "rule": "all_done_setup_success"},
        )
    )
    run.end("up success")

    assert run.end("a failed") == ["start down 1"]
    assert run.end("down failed") == ["finish failed task_failure"]
    assert run.states == (
        "a=failed b=upstream_failed c=upstream_failed down=failed up=success"
    )


def test_a_retry_starts_strictly_after_its_time() -> None:
    run = Transcript(plan("a", a={"retries": 1, "delay": 60.0}))

    assert run.end("a up_for_retry") == ["wait 61.000"]
    assert run.receive(TimeReached(), after_s=60) == ["wait 61.000"]
    assert run.receive(TimeReached(), after_s=1e-6) == ["start a 2"]
    assert run.end("a failed") == ["finish failed task_failure"]


def test_a_retry_policy_overrides_the_delay() -> None:
    run = Transcript(plan("a", a={"retries": 1}))

    retried = run.ended("a up_for_retry", retry_delay_s=5.0)

    assert run.receive(retried) == ["wait 6.000"]


def test_only_the_next_wake_up_is_asked_for() -> None:
    run = Transcript(
        plan("a, b, c", a={"delay": 60.0}, b={"delay": 90.0}, c={"delay": 10.0})
    )
    waits = [
        run.end("a up_for_retry"),
        run.end("b up_for_retry"),
        run.end("c up_for_retry"),
    ]

    assert waits == [["wait 61.000"], [], ["wait 13.000"]]
    assert run.receive(TimeReached(), after_s=11) == ["start c 2"]
    assert run.receive(TimeReached(), after_s=48) == ["start a 2", "wait 92.000"]


def test_a_poke_keeps_its_try() -> None:
    run = Transcript(plan("sensor"))

    poked = run.ended("sensor up_for_reschedule", reschedule_at=10.0)

    assert run.receive(poked) == ["wait 10.000"]
    assert run.receive(TimeReached(), after_s=9) == ["start sensor 1"]
    assert run.run.instance("sensor", -1) == InstanceFacts(
        "sensor", -1, TaskState.RUNNING, try_number=1, reschedules=1
    )


def test_a_deferred_try_goes_on_as_the_same_try() -> None:
    run = Transcript(plan("a >> b"))

    assert run.end("a deferred") == ["await a 1"]
    assert run.receive(TryResumed("a", -1)) == ["start a 1"]
    assert run.end("a success") == ["start b 1"]


def test_a_wait_may_end_its_try() -> None:
    run = Transcript(plan("a >> b"))
    run.end("a awaiting_input")

    ended = WaitEnded(run.ended("a success"))

    assert run.receive(ended) == ["start b 1"]
    assert run.receive(ended, TryResumed("a", -1)) == []


def test_a_wait_that_is_not_wanted_any_more_is_stopped() -> None:
    run = Transcript(plan("a, b", dag={"fail_fast": True}))
    run.end("a deferred")

    assert run.end("b failed") == ["stop a 1", "finish failed task_failure"]
    assert run.states == "a=skipped b=failed"


def test_a_task_that_starts_from_its_trigger_is_run_when_that_has_fired() -> None:
    run = Transcript(plan("a >> b", b={"deferred": True, "retries": 1, "delay": 9.0}))

    assert run.end("a success") == ["await b 1"]
    assert run.receive(TryResumed("b", -1)) == ["start b 1"]
    run.end("b up_for_retry")
    assert run.receive(TimeReached(), after_s=20) == ["await b 2"]


def test_a_watched_sensor_holds_no_slot_and_is_not_woken() -> None:
    run = Transcript(plan("a, b", dag={"max_active_tasks": 1}))

    poked = run.ended("a up_for_reschedule", reschedule_at=10.0, is_watched=True)

    assert run.receive(poked) == ["await a 1", "start b 1"]
    assert run.states == "a=up_for_reschedule b=running"
    assert run.receive(WaitEnded(run.ended("a success"))) == []
    assert run.end("b success") == ["finish success success"]


def test_fail_fast_ends_everything_but_teardowns() -> None:
    run = Transcript(
        plan(
            "a, b >> c, up >> down",
            dag={"fail_fast": True},
            up={"setup": True},
            down={"teardown": True, "rule": "all_done_setup_success"},
        )
    )
    run.end("up success")

    assert run.end("a failed") == ["stop b 1"]
    assert run.end("down success") == ["finish failed task_failure"]
    assert run.states == "a=failed b=failed c=skipped down=success up=success"


def test_a_run_out_of_time_fails_and_skips_what_is_unfinished() -> None:
    run = Transcript(plan("a >> b, c >> b", dag={"dagrun_timeout": 30.0}))

    assert run.said == ["start a 1", "start c 1", "wait 30.000"]
    assert run.end("a success") == []
    assert run.receive(TimeReached(), after_s=30) == [
        "stop c 1",
        "finish failed timed_out",
    ]
    assert run.states == "a=success b=skipped c=skipped"


def test_cancel_fails_what_runs_and_skips_the_rest() -> None:
    run = Transcript(plan("a >> b, c"))
    run.end("c success")

    assert run.receive(CancelRequested()) == ["stop a 1", "finish failed cancelled"]
    assert run.states == "a=failed b=skipped c=success"
    assert run.receive(CancelRequested()) == []


@pytest.mark.parametrize("state", ["deferred", "up_for_reschedule"])
def test_cancel_fails_what_is_between_two_parts_of_a_try(state: str) -> None:
    run = Transcript(plan("a >> b"))
    run.receive(run.ended(f"a {state}", reschedule_at=100.0))

    assert run.receive(CancelRequested())[-1] == "finish failed cancelled"
    assert run.states == "a=failed b=skipped"


def test_cancel_skips_what_waits_for_a_retry_or_a_slot() -> None:
    run = Transcript(plan("a, b", dag={"max_active_tasks": 1}, a={"retries": 1}))
    assert run.end("a up_for_retry") == ["start b 1", "wait 301.000"]

    assert run.receive(CancelRequested()) == ["stop b 1", "finish failed cancelled"]
    assert run.states == "a=skipped b=failed"


def test_a_cancelled_run_is_torn_down_first() -> None:
    run = Transcript(
        plan(
            "up >> a >> down, up >> down, a >> last",
            up={"setup": True},
            down={"teardown": True, "rule": "all_done_setup_success"},
        )
    )
    run.end("up success")

    assert run.receive(CancelRequested()) == ["stop a 1", "start down 1"]
    assert run.end("down success") == ["finish failed cancelled"]
    assert run.states == "a=failed down=success last=skipped up=success"


def test_a_teardown_that_runs_is_not_cancelled() -> None:
    run = Transcript(
        plan(
            "up >> down",
            up={"setup": True},
            down={"teardown": True, "rule": "all_done_setup_success"},
        )
    )
    run.end("up success")

    assert run.receive(CancelRequested()) == []
    assert run.end("down success") == ["finish failed cancelled"]


def test_what_was_stopped_before_it_began_is_skipped() -> None:
    run = Transcript(plan("a, b"))
    run.receive(CancelRequested())
    run.run.never_began("a", -1, 1)
    run.run.never_began("b", -1, 2)

    assert run.states == "a=skipped b=failed"


def test_a_lost_try_is_run_again_whatever_its_retries() -> None:
    run = Transcript(plan("a"), max_lost=2)

    assert run.receive(TryLost("a", -1, 1)) == ["start a 2"]
    assert run.receive(TryLost("a", -1, 1)) == []
    assert run.receive(TryLost("a", -1, 2)) == ["start a 3"]
    assert run.receive(TryLost("a", -1, 3)) == ["finish failed task_failure"]


def test_a_try_lost_too_often_is_a_failed_try() -> None:
    run = Transcript(plan("a", a={"retries": 1, "delay": 5.0}), retry_lost=False)

    assert run.receive(TryLost("a", -1, 1)) == ["wait 6.000"]
    assert run.receive(TimeReached(), after_s=6) == ["start a 2"]
    assert run.receive(TryLost("a", -1, 2)) == ["finish failed task_failure"]


def test_what_a_stopped_try_reports_is_ignored() -> None:
    run = Transcript(plan("a, b, c", dag={"fail_fast": True}))
    late = run.ended("b success")

    assert run.end("a failed") == [
        "stop b 1",
        "stop c 1",
        "finish failed task_failure",
    ]
    assert run.receive(late) == []
    assert run.states == "a=failed b=failed c=failed"


def test_ends_reported_twice_count_once() -> None:
    run = Transcript(plan("a >> b"))
    ended = run.ended("a success")
    run.receive(ended)

    assert run.receive(ended) == []


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.RUNNING])
def test_an_end_that_is_none_is_a_failure(state: TaskState) -> None:
    run = Transcript(plan("a"))

    assert run.end(f"a {state}") == ["finish failed task_failure"]


def test_as_many_run_as_the_dag_allows() -> None:
    run = Transcript(plan("a, b, c", dag={"max_active_tasks": 2}, c={"prio": 2}))

    assert run.said == ["start c 1", "start a 1"]
    assert run.states == "a=running b=scheduled c=running"
    assert run.end("c success") == ["start b 1"]


def test_instances_start_in_the_order_of_their_map_index() -> None:
    run = Transcript(
        plan("m, n", dag={"max_active_tasks": 3}, m={"map": [3]}, n={"map": [2]})
    )

    assert run.said == ["start m[0] 1", "start n[0] 1", "start m[1] 1"]


def test_a_tasks_own_limit_lets_others_pass() -> None:
    run = Transcript(plan("m, n", m={"map": [3], "max_run": 1, "prio": 9}))

    assert run.said == ["start m[0] 1", "start n 1"]
    assert run.end("m[0] deferred") == ["await m[0] 1"]
    assert run.receive(TryResumed("m", 0)) == ["start m[0] 1"]
    assert run.end("m[0] success") == ["start m[1] 1"]


def test_only_the_best_few_are_looked_at() -> None:
    run = Transcript(
        plan(
            "m, n",
            dag={"max_active_tasks": 2},
            m={"map": [3], "max_run": 1, "prio": 9},
        )
    )

    assert run.said == ["start m[0] 1"], "m[1] and m[2] are the two looked at"
    assert run.end("m[0] success") == ["start m[1] 1", "start n 1"]


def test_a_mapped_task_expands_when_its_source_has_returned() -> None:
    run = Transcript(plan("a >> m >> z", m={"map": [{"of": "a"}]}))
    assert run.run.feeds_mapping("a")
    assert not run.run.feeds_mapping("m")

    returned = run.ended("a success", returned=True, return_length=2)

    assert run.receive(returned) == ["start m[0] 1", "start m[1] 1"]
    assert run.end("m[1] success") == []
    assert run.end("m[0] success") == ["start z 1"]


@pytest.mark.parametrize(
    ("length", "states"),
    [(0, "a=success m=skipped z=skipped"), (None, "a=success m=upstream_failed")],
)
def test_nothing_to_map_over(length: int | None, states: str) -> None:
    run = Transcript(plan("a >> m >> z", m={"map": [{"of": "a"}]}))

    run.receive(run.ended("a success", return_length=length))

    assert run.states.startswith(states)


def test_mapping_over_a_mapped_task_counts_what_returned_something() -> None:
    run = Transcript(plan("m >> n", m={"map": [3]}, n={"map": [{"of": "m"}]}))
    run.end("m[1] success")
    run.receive(run.ended("m[0] success", returned=True))

    last = run.ended("m[2] success", returned=True)

    assert run.receive(last) == ["start n[0] 1", "start n[1] 1"]


def test_instances_of_a_mapped_group_depend_on_their_own_index() -> None:
    inside = {"groups": ["g"]}
    groups = {"groups": {"g": {"map": [2]}}}
    run = Transcript(plan("a >> b >> c", dag=groups, a=inside, b=inside))
    assert run.said == ["start a[0] 1", "start a[1] 1"]

    assert run.end("a[1] success") == ["start b[1] 1"]
    assert run.end("a[0] failed") == []
    assert run.end("b[1] success") == ["finish failed task_failure"]
    assert run.states == (
        "a[0]=failed a[1]=success b[0]=upstream_failed b[1]=success c=upstream_failed"
    )


def test_a_run_that_cannot_go_on_is_deadlocked() -> None:
    run = Transcript(plan("a >> c, b >> c", c={"rule": "all_skipped"}))
    run.receive(run.ended("a skipped"))

    removed = run.ended("b removed")

    assert run.receive(removed) == ["finish failed all_tasks_deadlocked"]
    assert run.states == "a=skipped b=removed c=None"


def test_a_run_answers_for_its_states() -> None:
    run = Transcript(plan("a >> c, b >> c"))
    run.end("a success")

    assert run.run.counts() == {"success": 1, "running": 1, None: 1}
    assert run.run.direct_upstreams("c") == ("a", "b")
    assert run.run.instance("c", 0) is None
    assert run.run.instance("x", -1) is None
    assert run.run.rows() == [
        ("a", -1, TaskState.SUCCESS, 1),
        ("b", -1, TaskState.RUNNING, 1),
        ("c", -1, None, 0),
    ]


def test_a_start_says_what_the_try_needs_to_know() -> None:
    run = Transcript(plan("a", a={"retries": 4}))
    again = run.run.receive([TryLost("a", -1, 1)], now=1.0)

    assert again == [
        StartTask("a", -1, try_number=2, max_tries=4, reschedules=0),
    ]


def test_a_run_can_be_put_away_and_taken_up_again() -> None:
    run = Transcript(plan("a >> b, m", a={"retries": 1}, m={"map": [9]}))
    run.end("a up_for_retry", "m[0] success")

    copy: Transcript = pickle.loads(pickle.dumps(run))  # noqa: S301

    assert copy.states == run.states
    for each in (run, copy):
        each.end("m[1] success", "m[2] failed")
        each.receive(TimeReached(), after_s=1000)
        each.end("a success")
    assert copy.said == run.said == ["start b 1"]


PAST = {"b": {"past": True}, "c": {"past": True, "empty": True}}


def test_a_task_that_depends_on_the_past_waits_for_it() -> None:
    run = Transcript(plan("a >> b >> c", **PAST))

    assert run.said == ["start a 1"]
    assert run.end("a success") == []
    assert run.receive(PastMet(("b",))) == ["start b 1"]
    assert run.end("b success") == []
    assert run.receive(PastMet(("c",))) == ["finish success success"]


def test_a_run_that_waits_for_the_past_is_not_deadlocked() -> None:
    run = Transcript(plan("a, b", b=PAST["b"]))

    assert run.end("a success") == []
    assert run.run.state == "running"


def test_a_task_that_waits_for_the_past_is_skipped_when_its_upstream_is() -> None:
    run = Transcript(plan("a >> b", b=PAST["b"]))

    assert run.end("a skipped") == ["finish success success"]


def test_what_has_come_of_the_past_is_put_away_with_the_run() -> None:
    of = plan("a >> b >> c", **PAST)
    run = Transcript(of)
    run.receive(PastMet(("b",)))

    again = DagRun.from_json(of, json.loads(json.dumps(run.run.to_json())))
    run.run = again

    assert run.end("a success") == ["start b 1"]
    assert run.end("b success") == []


def test_a_task_left_out_by_its_dates_is_still_waited_for() -> None:
    run = Transcript(
        plan("early >> heir, now", early={"start": 4e9}, heir={"retries": 1})
    )

    assert run.said == ["start now 1"]
    assert run.states == "heir=None now=running"
    assert run.end("now success") == ["finish failed all_tasks_deadlocked"]


def test_a_run_all_of_whose_tasks_are_left_out_succeeds() -> None:
    run = Transcript(plan("a >> b", dag={"end": 0.0}))

    assert run.said == ["finish success success"]


def test_a_restored_run_has_the_tasks_it_had() -> None:
    backfill = DagRun(
        plan("a, b", dag={"start": 4e9}, b={"end": 0.0}),
        logical_date="2026-01-01T00:00:00+00:00",
        is_backfill=True,
    )
    backfill.start(0.0)

    again = DagRun.from_json(backfill.plan, backfill.to_json())

    assert again.rows() == [("a", -1, "running", 1)]


@pytest.mark.parametrize(
    ("count", "outer", "is_mapped_further"),
    [(6, 3, False), (6, 6, False), (6, 3, True), (7, 3, True), (12, 2, True)],
)
def test_who_is_relevant_to_whom_is_the_inverse_of_who_depends_on_whom(
    count: int, outer: int, is_mapped_further: bool
) -> None:
    for upper in range(count):
        dependents = {
            i
            for i in range(count)
            if upper
            in relevant_indexes(
                GroupPosition(i, count, outer), is_mapped_further=is_mapped_further
            )
        }
        found = dependent_indexes(
            GroupPosition(upper, count, outer), is_mapped_further=is_mapped_further
        )
        assert found is not None
        assert dependents <= set(found)
