"""Which runs of a DAG may run, and what is remembered of them."""

import json
from typing import Any

import pytest

from appliance.dagrun import roster
from appliance.dagrun.roster import Roster, RunCard, RunQuestion
from appliance.dagrun.states import RunState


def card(run_id: str, **facts: Any) -> RunCard:
    values = {"run_type": "manual", "run_after": "2026-01-01", **facts}
    return RunCard(run_id=run_id, workflow_id=f"dag-x-{run_id}", **values)


def ended(run_id: str, state: RunState = RunState.SUCCESS, **facts: Any) -> RunCard:
    return card(run_id, state=state, **facts)


def ids(cards: list[RunCard]) -> list[str]:
    return [card.run_id for card in cards]


def test_as_many_run_as_may_and_the_others_follow_by_the_time_they_are_due() -> None:
    runs = Roster()

    assert runs.announce(card("a"), 1)
    assert not runs.announce(card("late", run_after="2026-01-03"), 1)
    assert not runs.announce(card("early", run_after="2026-01-02"), 1)
    assert runs.admit() == []
    runs.close(ended("a"), "")
    assert ids(runs.admit()) == ["early"]
    assert ids(runs.queued) == ["late"]


def test_one_that_is_not_due_holds_nobody_up() -> None:
    runs = Roster()

    assert not runs.announce(card("tomorrow", is_due=False), 1)
    assert ids(runs.held) == []
    assert runs.announce(card("today"), 1)
    assert not runs.announce(card("tomorrow"), 1)
    assert ids(runs.held) == ["tomorrow"]
    runs.close(ended("today"), "")
    assert ids(runs.admit()) == ["tomorrow"]


def test_a_higher_limit_lets_more_run() -> None:
    runs = Roster()
    runs.announce(card("a"), 1)
    runs.announce(card("b"), 1)

    assert not runs.announce(card("c"), 2)
    assert ids(runs.running) == ["a", "b"]


def test_announcing_again_changes_nothing() -> None:
    runs = Roster()

    assert runs.announce(card("a"), 1)
    assert runs.announce(card("a"), 1)
    assert not runs.announce(card("b"), 1)
    assert not runs.announce(card("b"), 1)
    assert ids(runs.queued) == ["b"]


def test_a_backfill_has_a_limit_of_its_own() -> None:
    runs = Roster()
    runs.announce(card("a"), 1)

    assert runs.announce(card("b", lane="backfill"), 1)
    assert not runs.announce(card("c", lane="backfill"), 1)


def test_a_run_that_is_gone_has_failed_and_makes_room() -> None:
    runs = Roster()
    runs.announce(card("a", execution="1"), 1)
    runs.announce(card("b"), 1)

    runs.lose("a", "1")

    assert ids(runs.admit()) == ["b"]
    assert runs.closed["a"].state is RunState.FAILED


def test_a_run_started_anew_is_not_ended_by_its_predecessor() -> None:
    runs = Roster()
    runs.announce(card("a", execution="1"), 1)
    runs.announce(card("a", execution="2"), 1)

    runs.close(ended("a", execution="1"), "")
    runs.lose("a", "1")

    assert ids(runs.running) == ["a"]


def test_a_closed_run_that_is_run_again_waits_its_turn() -> None:
    runs = Roster()
    runs.announce(card("a"), 1)
    runs.close(ended("a"), "rows")
    runs.announce(card("b"), 1)

    assert not runs.announce(card("a"), 1)
    assert ids(runs.queued) == ["a"]
    assert runs.tasks == {}


def three() -> Roster:
    runs = Roster()
    for day, state in ((1, RunState.SUCCESS), (2, RunState.FAILED)):
        facts = {"logical_date": f"2026-01-0{day}", "run_type": "scheduled"}
        runs.close(ended(f"day{day}", state, **facts), f"tasks of {day}")
    runs.close(ended("undated", run_after="2026-01-09"), "")
    runs.announce(card("day3", logical_date="2026-01-03"), 16)
    return runs


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (RunQuestion(), ["day1", "day2", "undated", "day3"]),
        (RunQuestion(run_ids=("day2", "none")), ["day2"]),
        (RunQuestion(logical_dates=("2026-01-01", "2026-01-03")), ["day1", "day3"]),
        (RunQuestion(states=("success",)), ["day1", "undated"]),
        (RunQuestion(before="2026-01-03", most=1), ["day2"]),
        (RunQuestion(before="2026-01-03", most=1, states=("success",)), ["day1"]),
        (RunQuestion(until="2026-01-03", most=9), ["day3", "day2", "day1"]),
        (RunQuestion(is_dated=True, no_manual=True), ["day1", "day2"]),
    ],
)
def test_runs_are_found(question: RunQuestion, found: list[str]) -> None:
    assert ids(three().find(question)) == found


def test_a_roster_can_be_put_away_and_taken_up_again() -> None:
    runs = three()

    again = Roster.from_json(json.loads(json.dumps(runs.to_json())))

    assert again == runs


def test_what_is_remembered_has_a_bound() -> None:
    runs = Roster()
    most = roster.MOST_CLOSED
    for number in range(most + 3):
        runs.close(ended(str(number)), "x" * 1000)

    assert len(runs.closed) == most
    assert "2" not in runs.closed
    assert sum(map(len, runs.tasks.values())) <= roster.MOST_TASKS_CHARS
    assert str(most + 2) in runs.tasks


def test_a_run_that_announces_itself_again_brings_no_old_limit_back() -> None:
    runs = Roster()
    runs.announce(card("a"), 1)
    runs.announce(card("b"), 1)
    runs.announce(card("c"), 2)

    assert runs.announce(card("b"), 1)
    assert runs.limits == {"": 2}
    runs.close(ended("a"), "")
    assert ids(runs.admit()) == ["c"]
