"""What each trigger rule says of its upstreams."""

import pytest

from appliance.dagrun.rules import (
    RULES,
    Tally,
    TriggerRule,
    Verdict,
    judge_indirect_setups,
)
from appliance.dagrun.states import TaskState

FIELDS = {
    "s": "success",
    "k": "skipped",
    "f": "failed",
    "u": "upstream_failed",
    "r": "removed",
}
SKIP, HEIR, GONE = TaskState.SKIPPED, TaskState.UPSTREAM_FAILED, TaskState.REMOVED
RUN, WAIT = "run", "wait"

# (rule, ended upstreams, others still to come, verdict). s success, k skipped, f failed, u upstream_failed, r removed.
CASES: list[tuple[str, str, int, str]] = [
    ("all_success", "s", 1, WAIT),
    ("all_success", "ss", 0, RUN),
    ("all_success", "k", 1, SKIP),
    ("all_success", "f", 1, HEIR),
    ("all_success", "kf", 0, HEIR),
    ("all_success", "sr", 0, RUN),
    ("all_failed", "f", 1, WAIT),
    ("all_failed", "fu", 0, RUN),
    ("all_failed", "fs", 1, SKIP),
    ("all_failed", "k", 1, SKIP),
    ("all_done", "fks", 1, WAIT),
    ("all_done", "fksu", 0, RUN),
    ("all_done_min_one_success", "fs", 0, RUN),
    ("all_done_min_one_success", "fs", 1, WAIT),
    ("all_done_min_one_success", "ff", 0, HEIR),
    ("all_done_min_one_success", "sk", 0, SKIP),
    ("all_done_setup_success", "fk", 1, WAIT),
    ("all_done_setup_success", "fk", 0, RUN),
    ("one_success", "s", 1, RUN),
    ("one_success", "f", 1, WAIT),
    ("one_success", "fk", 0, HEIR),
    ("one_success", "kk", 0, SKIP),
    ("one_failed", "f", 1, RUN),
    ("one_failed", "u", 1, RUN),
    ("one_failed", "s", 1, WAIT),
    ("one_failed", "sk", 0, SKIP),
    ("one_done", "s", 1, RUN),
    ("one_done", "f", 1, RUN),
    ("one_done", "u", 1, WAIT),
    ("one_done", "uk", 0, SKIP),
    ("none_failed", "sk", 0, RUN),
    ("none_failed", "sk", 1, WAIT),
    ("none_failed", "f", 1, HEIR),
    ("none_failed_min_one_success", "sk", 0, RUN),
    ("none_failed_min_one_success", "s", 1, WAIT),
    ("none_failed_min_one_success", "kk", 0, SKIP),
    ("none_failed_min_one_success", "kr", 0, HEIR),
    ("none_failed_min_one_success", "su", 1, HEIR),
    ("none_skipped", "sf", 0, RUN),
    ("none_skipped", "sf", 1, WAIT),
    ("none_skipped", "k", 1, SKIP),
    ("all_skipped", "kk", 0, RUN),
    ("all_skipped", "k", 1, WAIT),
    ("all_skipped", "s", 1, SKIP),
    ("all_skipped", "kr", 0, WAIT),
    ("always", "", 1, RUN),
    ("always", "f", 0, RUN),
]


def tally(ended: str, coming: int) -> Tally:
    counts = {field: ended.count(letter) for letter, field in FIELDS.items()}
    return Tally(**counts, expected=len(ended) + coming)


@pytest.mark.parametrize(("rule", "ended", "coming", "expected"), CASES)
def test_a_rule_and_its_upstreams(
    rule: str, ended: str, coming: int, expected: str
) -> None:
    verdict = RULES[TriggerRule(rule)](tally(ended, coming))

    sets = None if expected in (RUN, WAIT) else TaskState(expected)
    assert verdict.sets is sets
    if sets is None:
        assert verdict.is_met == (expected == RUN)


def test_every_rule_has_a_row_and_a_case() -> None:
    assert set(RULES) == set(TriggerRule) == {TriggerRule(case[0]) for case in CASES}


@pytest.mark.parametrize(
    ("succeeded", "skipped", "expected"),
    [
        (1, 1, Verdict(None, is_met=True)),
        (0, 2, Verdict(SKIP, is_met=False)),
        (0, 1, Verdict(HEIR, is_met=False)),
    ],
)
def test_a_teardown_needs_one_setup_that_succeeded(
    succeeded: int, skipped: int, expected: Verdict
) -> None:
    upstreams = Tally(
        success=1 + succeeded,
        skipped=skipped,
        failed=2 - succeeded - skipped,
        expected=3,
        setups=2,
        setups_succeeded=succeeded,
        setups_skipped=skipped,
    )

    verdict = RULES[TriggerRule.ALL_DONE_SETUP_SUCCESS](upstreams)

    assert verdict == expected


def test_a_mapped_instance_goes_with_its_removed_upstream() -> None:
    upstreams = Tally(success=2, removed=1, expected=3, map_index=2)

    assert RULES[TriggerRule.ALL_SUCCESS](upstreams).sets is GONE


def test_indirect_setups_must_all_succeed() -> None:
    assert judge_indirect_setups(tally("ss", 0)) == (None, True)
    assert judge_indirect_setups(tally("s", 1)) == (None, False)
    assert judge_indirect_setups(tally("sk", 0)) == (SKIP, False)
    assert judge_indirect_setups(tally("kf", 0)) == (HEIR, False)
