"""The 13 trigger rules: what the states of upstream instances mean for one task instance.

Pure functions of a ``Tally``; who counts, and which upstream instances are relevant, is decided elsewhere.
A rule says two things that do not exclude each other: the state it sets, and whether the instance may run.
A state is set as soon as the first bad upstream is seen unless the rule waits for all of them.

Source: Airflow 3.3: ``airflow/ti_deps/deps/trigger_rule_dep.py``.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

from appliance.dagrun.states import TaskState


class TriggerRule(StrEnum):
    """Airflow's trigger rules."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"
    ALL_SKIPPED = "all_skipped"
    ALWAYS = "always"


class Tally(NamedTuple):
    """Finished upstream instances by state, and how many are ``expected`` in all."""

    success: int = 0
    skipped: int = 0
    failed: int = 0
    upstream_failed: int = 0
    removed: int = 0
    expected: int = 0
    map_index: int = -1
    """Of the instance the rule is asked about."""
    setups: int = 0
    """Upstream instances of setup tasks; the next two count among these."""
    setups_succeeded: int = 0
    setups_skipped: int = 0

    @property
    def finished(self) -> int:
        """How many upstream instances have ended, whatever their end."""
        return (
            self.success
            + self.skipped
            + self.failed
            + self.upstream_failed
            + self.removed
        )

    @property
    def is_done(self) -> bool:
        """Whether nothing upstream is still to come."""
        return self.finished >= self.expected

    @property
    def bad(self) -> int:
        """How many failed, themselves or by their own upstreams."""
        return self.failed + self.upstream_failed


class Verdict(NamedTuple):
    """What a rule says of one instance."""

    sets: TaskState | None
    """State the instance ends in without running."""
    is_met: bool


_SKIPPED, _UPSTREAM_FAILED = TaskState.SKIPPED, TaskState.UPSTREAM_FAILED


def _all_success(t: Tally) -> Verdict:
    sets = None
    if t.bad:
        sets = _UPSTREAM_FAILED
    elif t.skipped:
        sets = _SKIPPED
    elif t.removed and 0 < t.success <= t.map_index:
        sets = TaskState.REMOVED
    return Verdict(sets, t.success + t.removed >= t.expected)


def _all_failed(t: Tally) -> Verdict:
    sets = _SKIPPED if t.success or t.skipped else None
    return Verdict(sets, t.bad + t.removed >= t.expected)


def _all_done(t: Tally) -> Verdict:
    return Verdict(None, t.is_done)


def _all_done_min_one_success(t: Tally) -> Verdict:
    sets = None
    if t.skipped:
        sets = _SKIPPED
    elif t.success == 0 and t.bad + t.removed >= t.expected:
        sets = _UPSTREAM_FAILED
    enough = t.success + t.bad >= t.expected - t.removed
    return Verdict(sets, enough and not t.skipped and t.success > 0)


def _all_done_setup_success(t: Tally) -> Verdict:
    sets = None
    if t.is_done and t.setups:
        if t.setups_skipped >= t.setups:
            sets = _SKIPPED
        elif t.setups_succeeded == 0:
            sets = _UPSTREAM_FAILED
    return Verdict(sets, t.is_done and not (t.setups and t.setups_succeeded == 0))


def _one_success(t: Tally) -> Verdict:
    sets = None
    if t.is_done and t.finished == t.skipped:
        sets = _SKIPPED
    elif t.is_done and t.success == 0:
        sets = _UPSTREAM_FAILED
    return Verdict(sets, t.success > 0)


def _one_failed(t: Tally) -> Verdict:
    return Verdict(_SKIPPED if t.is_done and not t.bad else None, t.bad > 0)


def _one_done(t: Tally) -> Verdict:
    # An upstream_failed or skipped upstream has not been "done" in this rule's sense.
    ran = t.success + t.failed
    return Verdict(_SKIPPED if t.is_done and not ran else None, ran > 0)


def _none_failed(t: Tally) -> Verdict:
    fine = t.success + t.skipped + t.removed
    return Verdict(_UPSTREAM_FAILED if t.bad else None, fine >= t.expected)


def _none_failed_min_one_success(t: Tally) -> Verdict:
    sets = None
    if t.bad:
        sets = _UPSTREAM_FAILED
    elif t.skipped == t.expected:
        sets = _SKIPPED
    elif t.is_done and t.success == 0:
        sets = _UPSTREAM_FAILED
    fine = t.success + t.skipped + t.removed
    return Verdict(sets, fine >= t.expected and t.success > 0)


def _none_skipped(t: Tally) -> Verdict:
    return Verdict(_SKIPPED if t.skipped else None, t.is_done and not t.skipped)


def _all_skipped(t: Tally) -> Verdict:
    return Verdict(_SKIPPED if t.success or t.bad else None, t.skipped >= t.expected)


def _always(_: Tally) -> Verdict:
    return Verdict(None, is_met=True)


RULES: Mapping[TriggerRule, Callable[[Tally], Verdict]] = {
    TriggerRule.ALL_SUCCESS: _all_success,
    TriggerRule.ALL_FAILED: _all_failed,
    TriggerRule.ALL_DONE: _all_done,
    TriggerRule.ALL_DONE_MIN_ONE_SUCCESS: _all_done_min_one_success,
    TriggerRule.ALL_DONE_SETUP_SUCCESS: _all_done_setup_success,
    TriggerRule.ONE_SUCCESS: _one_success,
    TriggerRule.ONE_FAILED: _one_failed,
    TriggerRule.ONE_DONE: _one_done,
    TriggerRule.NONE_FAILED: _none_failed,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _none_failed_min_one_success,
    TriggerRule.NONE_SKIPPED: _none_skipped,
    TriggerRule.ALL_SKIPPED: _all_skipped,
    TriggerRule.ALWAYS: _always,
}


_BAD = frozenset((TaskState.FAILED, TaskState.UPSTREAM_FAILED))
_RAN = frozenset((TaskState.SUCCESS, TaskState.FAILED))

EARLY: Mapping[TriggerRule, frozenset[TaskState]] = {
    TriggerRule.ALL_SUCCESS: _BAD | {_SKIPPED},
    TriggerRule.ALL_FAILED: frozenset((TaskState.SUCCESS, _SKIPPED)),
    TriggerRule.ALL_DONE: frozenset(),
    TriggerRule.ALL_DONE_MIN_ONE_SUCCESS: frozenset((_SKIPPED,)),
    TriggerRule.ALL_DONE_SETUP_SUCCESS: frozenset(),
    TriggerRule.ONE_SUCCESS: frozenset((TaskState.SUCCESS,)),
    TriggerRule.ONE_FAILED: _BAD,
    TriggerRule.ONE_DONE: _RAN,
    TriggerRule.NONE_FAILED: _BAD,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _BAD,
    TriggerRule.NONE_SKIPPED: frozenset((_SKIPPED,)),
    TriggerRule.ALL_SKIPPED: _BAD | {TaskState.SUCCESS},
    TriggerRule.ALWAYS: frozenset(),
}
"""Ends of one upstream instance that may change a verdict before all have ended, while none is REMOVED."""


def judge_indirect_setups(t: Tally) -> Verdict:
    """Judge the setups upstream of a task but not directly: all must succeed.

    Asked before the task's own rule, and whatever that is.
    """
    verdict = _all_success(t)
    removed = t.removed if t.map_index >= 0 else 0
    return Verdict(verdict.sets, t.success + removed >= t.expected)
