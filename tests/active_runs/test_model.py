"""Which runs of a DAG may run, and what is remembered of them."""

import json
from secrets import token_hex
from typing import Any

import pytest

from appliance.active_runs import model
from appliance.active_runs.model import ActiveRuns
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.states import RunState
from appliance.temporal import compression


def card(run_id: str, **facts: Any) -> RunRecord:
    values = {"run_type": "manual", "run_after": "2026-01-01", **facts}
    return RunRecord(run_id=run_id, workflow_id=f"dag-x-{run_id}", **values)


def ended(run_id: str, state: RunState = RunState.SUCCESS, **facts: Any) -> RunRecord:
    return card(run_id, state=state, **facts)


def ids(cards: list[RunRecord]) -> list[str]:
    return [card.run_id for card in cards]


def test_as_many_run_as_may_and_the_others_follow_by_the_time_they_are_due() -> None:
    runs = ActiveRuns()

    assert runs.announce(card("a"), 1)
    assert not runs.announce(card("late", run_after="2026-01-03"), 1)
    assert not runs.announce(card("early", run_after="2026-01-02"), 1)
    assert runs.admit() == []
    runs.close(ended("a"), "")
    assert ids(runs.admit()) == ["early"]
    assert ids(runs.queued) == ["late"]


def test_one_that_is_not_due_holds_nobody_up() -> None:
    runs = ActiveRuns()

    assert not runs.announce(card("tomorrow", is_due=False), 1)
    assert ids(runs.held) == []
    assert runs.announce(card("today"), 1)
    assert not runs.announce(card("tomorrow"), 1)
    assert ids(runs.held) == ["tomorrow"]
    runs.close(ended("today"), "")
    assert ids(runs.admit()) == ["tomorrow"]


def test_a_higher_limit_lets_more_run() -> None:
    runs = ActiveRuns()
    runs.announce(card("a"), 1)
    runs.announce(card("b"), 1)

    assert not runs.announce(card("c"), 2)
    assert ids(runs.running) == ["a", "b"]


def test_announcing_again_changes_nothing() -> None:
    runs = ActiveRuns()

    assert runs.announce(card("a"), 1)
    assert runs.announce(card("a"), 1)
    assert not runs.announce(card("b"), 1)
    assert not runs.announce(card("b"), 1)
    assert ids(runs.queued) == ["b"]


def test_a_backfill_has_a_limit_of_its_own() -> None:
    runs = ActiveRuns()
    runs.announce(card("a"), 1)

    assert runs.announce(card("b", lane="backfill"), 1)
    assert not runs.announce(card("c", lane="backfill"), 1)


def test_a_run_that_is_gone_has_failed_and_makes_room() -> None:
    runs = ActiveRuns()
    runs.announce(card("a", execution="1"), 1)
    runs.announce(card("b"), 1)

    runs.lose("a", "1")

    assert ids(runs.admit()) == ["b"]
    assert runs.closed["a"].state is RunState.FAILED


def test_a_run_started_anew_is_not_ended_by_its_predecessor() -> None:
    runs = ActiveRuns()
    runs.announce(card("a", execution="1"), 1)
    runs.announce(card("a", execution="2"), 1)

    runs.close(ended("a", execution="1"), "")
    runs.lose("a", "1")

    assert ids(runs.running) == ["a"]


def test_a_closed_run_that_is_run_again_waits_its_turn() -> None:
    runs = ActiveRuns()
    runs.announce(card("a"), 1)
    runs.close(ended("a"), "rows")
    runs.announce(card("b"), 1)

    assert not runs.announce(card("a"), 1)
    assert ids(runs.queued) == ["a"]
    assert runs.tasks == {}


def three() -> ActiveRuns:
    runs = ActiveRuns()
    for day, state in ((1, RunState.SUCCESS), (2, RunState.FAILED)):
        facts = {"logical_date": f"2026-01-0{day}", "run_type": "scheduled"}
        runs.close(ended(f"day{day}", state, **facts), f"tasks of {day}")
    runs.close(ended("undated", run_after="2026-01-09"), "")
    runs.announce(card("day3", logical_date="2026-01-03"), 16)
    return runs


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (RunQuery(), ["day1", "day2", "undated", "day3"]),
        (RunQuery(run_ids=("day2", "none")), ["day2"]),
        (RunQuery(logical_dates=("2026-01-01", "2026-01-03")), ["day1", "day3"]),
        (RunQuery(states=("success",)), ["day1", "undated"]),
        (RunQuery(before="2026-01-03", most=1), ["day2"]),
        (RunQuery(before="2026-01-03", most=1, states=("success",)), ["day1"]),
        (RunQuery(until="2026-01-03", most=9), ["day3", "day2", "day1"]),
        (RunQuery(is_dated=True, no_manual=True), ["day1", "day2"]),
    ],
)
def test_runs_are_found(question: RunQuery, found: list[str]) -> None:
    assert ids(three().find(question)) == found


def test_a_roster_can_be_put_away_and_taken_up_again() -> None:
    runs = three()

    again = ActiveRuns.from_json(json.loads(json.dumps(runs.to_json())))

    assert again == runs


def test_what_is_remembered_has_a_bound() -> None:
    runs = ActiveRuns()
    most = model.MOST_CLOSED
    for number in range(most + 3):
        runs.close(ended(str(number)), "x" * 1000)

    assert len(runs.closed) == most
    assert "2" not in runs.closed
    assert sum(map(len, runs.tasks.values())) <= model.MOST_TASKS_CHARS
    assert str(most + 2) in runs.tasks


def test_a_run_that_announces_itself_again_brings_no_old_limit_back() -> None:
    runs = ActiveRuns()
    runs.announce(card("a"), 1)
    runs.announce(card("b"), 1)
    runs.announce(card("c"), 2)

    assert runs.announce(card("b"), 1)
    assert runs.limits == {"": 2}
    runs.close(ended("a"), "")
    assert ids(runs.admit()) == ["c"]


def test_who_waits_beyond_the_bound_is_let_in_when_it_asks_again() -> None:
    """Those that would be let in last are not remembered; none that runs is forgotten."""
    waiting = [card(f"{number:04}", run_after="5") for number in range(1999)]
    runs = ActiveRuns(open={one.run_id: one for one in waiting}, limits={"": 0})
    assert len(runs.open) == model.MOST_OPEN - 1
    assert not runs.announce(card("early", run_after="1"), 0)
    assert not runs.announce(card("earlier", run_after="0"), 0)
    assert not runs.announce(card("late", run_after="9"), 0)

    assert ids(runs.queued) == ["earlier", "early", *ids(waiting[:-1])]
    runs.close(ended("late"), "")  # one that is cancelled while it is not remembered
    runs.close(ended("early"), "")
    assert not runs.announce(waiting[-1], 0)
    assert ids(runs.queued) == ["earlier", *ids(waiting)]


def test_what_is_too_much_to_go_on_with_is_past_first() -> None:
    """In the end those who would be let in last; who runs stays."""
    runs = ActiveRuns()
    for name in ("a", "b", "c", "d"):
        runs.announce(card(name, conf={"x": 1}), 1)
    for name in ("e", "f"):
        runs.close(ended(name, conf={"x": 1}), "tasks")
    seen = []
    lighter = runs
    while (less := lighter.lighter()) is not None:
        lighter = less
        seen.append(
            (
                [*lighter.tasks],
                [*lighter.closed],
                [*lighter.open],
                sum(one.conf is not None for one in lighter.find(RunQuery())),
            )
        )

    assert seen == [
        (["f"], ["e", "f"], ["a", "b", "c", "d"], 6),
        ([], ["e", "f"], ["a", "b", "c", "d"], 6),
        ([], ["e", "f"], ["a", "b", "c", "d"], 4),
        ([], ["f"], ["a", "b", "c", "d"], 4),
        ([], [], ["a", "b", "c", "d"], 4),
        ([], [], ["a", "b", "c", "d"], 0),
        ([], [], ["a", "b"], 0),
        ([], [], ["a"], 0),
    ]
    assert len(runs.open) == 4


@pytest.mark.long
def test_all_that_is_remembered_at_most_fits_into_one_message() -> None:
    """With confs of which nothing can be spared."""
    runs = ActiveRuns()
    for number in range(model.MOST_OPEN):
        runs.announce(card(token_hex(100), conf={"x": token_hex(250)}), number % 9)
    for _ in range(model.MOST_CLOSED):
        runs.close(ended(token_hex(100), conf={"x": token_hex(250)}), token_hex(130))

    text = compression.packed_state(runs)

    assert len(text) <= compression.MOST_STATE_BYTES
    kept = ActiveRuns.from_json(compression.unpacked(text))
    assert kept.open.keys() == runs.open.keys()
    assert kept.limits == runs.limits
