"""Decides whether one task instance may run now, and which state it takes if it never will.

Every dependency is asked even when an earlier one has refused, in this order: time, earlier runs, trigger rule, branch
decisions, mapping sources; later ones may still set the state, and the last writer wins. (Airflow keeps them in
a set ordered by object addresses; this is the order they are written in.)

Source: Airflow 3.3: ``airflow/ti_deps/deps/``.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from appliance.dagrun.expansion import GroupPosition, relevant_indexes
from appliance.dagrun.graph import common_groups
from appliance.dagrun.rules import (
    RULES,
    Tally,
    TriggerRule,
    Verdict,
    judge_indirect_setups,
)
from appliance.dagrun.states import FINISHED, TaskState
from appliance.dagrun.task_instances import TaskInstance, TaskInstances, TaskNode

_BEFORE_EXPANSION = frozenset(
    (
        TriggerRule.ONE_SUCCESS,
        TriggerRule.ONE_FAILED,
        TriggerRule.ONE_DONE,
        TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )
)
"""Rules that might be met before an instance is expanded, if it looked at its own index alone."""

_FAILURES = frozenset((TaskState.FAILED, TaskState.UPSTREAM_FAILED))


class _Seen(NamedTuple):
    """Finished instances by state, among how many."""

    states: Counter[TaskState]
    rows: int


@dataclass(slots=True)
class Dependencies:
    """Asks for the instances of one board, during one pass."""

    board: TaskInstances
    has_changed_states: bool = False
    """Whether any of them has set a state; Airflow does not count what branches do."""

    def are_met(self, instance: TaskInstance, now: float | None) -> bool:
        """Tell whether the instance may run; set its state if it never will.

        Args:
            instance: The one in question.
            now: The time; None to leave retry and reschedule times out of account.
        """
        task_id = instance.task.task_id
        node = self.board.nodes[task_id]
        links = node.links
        in_time = now is None or instance.state is None or is_due(instance, now)
        past = task_id not in self.board.awaits_past
        rule = not links.up or self._trigger_rule(instance, node)
        followed = not links.skippers or self._is_followed(instance, node)
        mapped = not links.own_sources or self._mapping_sources(instance, node)
        return in_time and past and rule and followed and mapped

    def _trigger_rule(self, instance: TaskInstance, node: TaskNode) -> bool:
        links = node.links
        if instance.task.rule is TriggerRule.ALWAYS:
            return True
        setups_met = True
        if links.indirect_setups:
            verdict = self._judge_indirect_setups(instance, node)
            setups_met = verdict.is_met
            if self._apply(instance, verdict.sets) and not setups_met:
                return False
        met = self._judge_upstreams(instance, node)
        if not (met and setups_met):
            return False
        return not links.scope or self._is_scope_done(instance, node)

    def _apply(self, instance: TaskInstance, state: TaskState | None) -> bool:
        """Set the state a dependency asks for; tell whether that changed it."""
        if state is None or state is instance.state:
            return False
        self.board.set_state(instance, state)
        self.has_changed_states = True
        return True

    def _judge_indirect_setups(self, instance: TaskInstance, node: TaskNode) -> Verdict:
        seen = self._look_at(instance, node.links.indirect_setups)
        return judge_indirect_setups(_tally(instance, seen))

    def _is_scope_done(self, instance: TaskInstance, node: TaskNode) -> bool:
        seen = self._look_at(instance, node.links.scope)
        return seen.states.total() >= seen.rows

    def _judge_upstreams(self, instance: TaskInstance, node: TaskNode) -> bool:
        links = node.links
        if links.setup_ups and instance.task.rule is TriggerRule.ALL_DONE_SETUP_SUCCESS:
            verdict = self._judge_with_setups(instance, node)
        elif instance.task.groups and links.upstream_expands:
            seen = self._look_at(instance, links.up)
            verdict = RULES[instance.task.rule](_tally(instance, seen))
        else:
            verdict = self._judge_all_above(instance, node)
        self._apply(instance, verdict.sets)
        return verdict.is_met

    def _judge_all_above(self, instance: TaskInstance, node: TaskNode) -> Verdict:
        """Judge by what is the same for all instances of a task, but for removed upstreams."""
        rule, above = instance.task.rule, node.above
        verdict = above.verdicts.get(rule)
        if verdict is None or self.board.has_removed:
            verdict = RULES[rule](_tally(instance, _Seen(above.seen, above.expected)))
            above.verdicts[rule] = verdict
        return verdict

    def _judge_with_setups(self, instance: TaskInstance, node: TaskNode) -> Verdict:
        if instance.task.groups and node.links.upstream_expands:
            seen = self._look_at(instance, node.links.up)
        else:
            seen = _Seen(node.above.seen, node.above.expected)
        setups = self._look_at(
            instance, node.links.setup_ups, by_rows=node.links.upstream_expands
        )
        tally = _tally(instance, seen)._replace(
            setups=setups.rows,
            setups_succeeded=setups.states[TaskState.SUCCESS],
            setups_skipped=setups.states[TaskState.SKIPPED],
        )
        return RULES[instance.task.rule](tally)

    def _look_at(
        self, instance: TaskInstance, ups: Iterable[str], *, by_rows: bool | None = None
    ) -> _Seen:
        """Count the relevant instances of these upstreams.

        Where none of them is expanded, a task counts as one row even if it has none.
        """
        nodes = [self.board.nodes[up] for up in ups]
        if by_rows is None:
            by_rows = any(node.task.expands for node in nodes)
        states: Counter[TaskState] = Counter()
        rows = 0
        for node in nodes:
            seen = self._look_at_one(instance, node)
            states.update(seen.states)
            rows += seen.rows if by_rows else 1
        return _Seen(states, rows)

    def _look_at_one(self, instance: TaskInstance, node: TaskNode) -> _Seen:
        indexes = self._relevant(instance, node)
        if indexes is None:
            return _Seen(node.seen, len(node.instances))
        found = [node.instances[i] for i in indexes if i in node.instances]
        if -1 in node.instances and -1 not in indexes:
            found.append(node.instances[-1])
        return _Seen(Counter(i.seen for i in found if i.seen), len(found))

    def _relevant(self, instance: TaskInstance, upper: TaskNode) -> range | None:
        """Return the map indexes of an upstream an instance depends on; None for all."""
        common = common_groups(upper.task, instance.task)
        if not common or self._counts_whole(instance, upper):
            return None
        count = self.board.count(instance.task)
        if not count:
            return None
        place = GroupPosition(
            instance.map_index, count, self.board.group_count(common) or 1
        )
        further = upper.task.is_mapped_within(common)
        return relevant_indexes(place, is_mapped_further=further)

    def _counts_whole(self, instance: TaskInstance, upper: TaskNode) -> bool:
        """Tell whether all of an upstream counts, lest the rule be met before expansion."""
        if instance.map_index >= 0 or instance.task.rule not in _BEFORE_EXPANSION:
            return False
        sources = self.board.nodes[instance.task.task_id].links.sources
        return upper.task.task_id not in sources

    def _is_followed(self, instance: TaskInstance, node: TaskNode) -> bool:
        """Tell whether no branch above has decided against the instance; skip it otherwise.

        A decision taken in a mapped task group is not found, as in Airflow 3.3.2 (apache/airflow#67265).
        """
        for parent in (self.board.nodes[p] for p in node.links.skippers):
            is_mapped = parent.task.maps is not None
            index = instance.map_index if is_mapped else -1
            decision = parent.skip_verdicts.get(index)
            if decision is None or not parent.seen.total():
                continue
            verdict, task_ids = decision
            if (instance.task.task_id in task_ids) == (verdict == "skipped"):
                self.board.set_state(instance, TaskState.SKIPPED)
                return False
        return True

    def _mapping_sources(self, instance: TaskInstance, node: TaskNode) -> bool:
        """Tell whether what is expanded over has succeeded; this overrides every trigger rule."""
        unmapped = (
            self.board.nodes[source].instances.get(-1)
            for source in node.links.own_sources
        )
        ended = {i.state for i in unmapped if i and i.state in FINISHED}
        if ended <= {TaskState.SUCCESS}:
            return True
        if instance.state not in _FAILURES:
            if ended & _FAILURES:
                self._apply(instance, TaskState.UPSTREAM_FAILED)
            elif TaskState.SKIPPED in ended:
                self._apply(instance, TaskState.SKIPPED)
        return False


def is_due(instance: TaskInstance, now: float) -> bool:
    """Tell whether its time has come: strictly after for a retry, not before for a reschedule."""
    match instance.state:
        case TaskState.UP_FOR_RETRY:
            return instance.due < now
        case TaskState.UP_FOR_RESCHEDULE:
            return instance.due <= now
        case _:
            return True


def _tally(instance: TaskInstance, seen: _Seen) -> Tally:
    count = seen.states.get  # not [], which calls Python for what is not there
    return Tally(
        success=count(TaskState.SUCCESS, 0),
        skipped=count(TaskState.SKIPPED, 0),
        failed=count(TaskState.FAILED, 0),
        upstream_failed=count(TaskState.UPSTREAM_FAILED, 0),
        removed=count(TaskState.REMOVED, 0),
        expected=seen.rows,
        map_index=instance.map_index,
    )
