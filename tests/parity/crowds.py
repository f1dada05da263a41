"""Seeded random crowds: several runs of one DAG or two that share run limits, task limits and pools.

Case: {"pools": {name: {"slots", "include_deferred"}}, "dags": [specs.py, and "max_active_runs", "catchup"],
       "runs": [{"dag": n, "run_id", "type", "day": of its logical date, "at": s, "script"}]}

Days are counted from the date of ``dags.py``, and negative: no run may be due in the future. A seed gives the same case
for ever.
"""

import random
from typing import Any

Case = dict[str, Any]

_RULES = ("all_done", "none_failed", "one_success", "none_failed_min_one_success")
_ENDS = ("success", "fail", "skip", "reschedule", "defer")
AMPLE = 16
"""More places for tasks than a run has tasks."""
_DURATIONS_S = (1, 1, 2, 3, 1.5, 2.25)


def generate(seed: int) -> Case:
    """Return one random case."""
    return _Generator(seed).case()


class _Generator:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311
        self.has_pools = self._chance(0.7)
        self.has_past = self._chance(0.4)
        self.has_priorities = self._chance(0.6)
        self.each = self.rng.choice((1, 1, 2))
        """How many slots each task wants: then it does not matter which of two wishes came first."""
        self.pools = (
            {f"p{n}": self._pool() for n in range(self.rng.choice((1, 1, 2)))}
            if self.has_pools
            else {}
        )

    def case(self) -> Case:
        dags = [self._dag(n) for n in range(self.rng.choice((1, 1, 2)))]
        runs = [
            run
            for n, dag in enumerate(dags)
            for run in self._runs(n, dag, self.rng.randint(2, 5 - len(dags)))
        ]
        return {"pools": self.pools, "dags": dags, "runs": runs}

    def _pool(self) -> dict[str, Any]:
        return {
            "slots": self.each * self.rng.choice((1, 1, 2, 3)),
            "include_deferred": self._chance(0.4),
        }

    def _dag(self, n: int) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = []
        for t in range(self.rng.randint(2, 4)):
            nodes.append(self._task(t, [node["id"] for node in nodes]))
        most = self.rng.choice((1, 2, 3, AMPLE, AMPLE))
        self._limit(nodes, is_narrow=most != AMPLE)
        return {
            "dag_id": f"crowd_{self.seed}_{n}",
            "max_active_runs": self.rng.choice((1, 2, 2, 3, 16)),
            "max_active_tasks": most,
            "catchup": self._chance(0.3),
            "nodes": nodes,
        }

    def _task(self, t: int, known: list[str]) -> dict[str, Any]:
        node: dict[str, Any] = {
            "id": f"t{t}",
            "kind": "empty" if self._chance(0.1) else "task",
            "rule": self.rng.choice(_RULES) if self._chance(0.3) else "all_success",
            "retries": self.rng.choice((0, 0, 1)),
            "retry_delay": self.rng.choice((2, 7)),
            "up": [up for up in known if self._chance(0.45)],
        }
        if node["kind"] == "empty":
            return node
        if self._chance(0.3):
            node["map"] = {"x": {"lit": self.rng.randint(2, 3)}}
        if self.has_priorities:
            node["priority"] = self.rng.randint(1, 9)
            node["weight"] = self.rng.choice(("absolute", "downstream", "upstream"))
        return node

    def _limit(self, nodes: list[dict[str, Any]], *, is_narrow: bool) -> None:
        """Let tasks share what is scarce; all that of a run with few places for tasks the same, or nothing."""
        pool = self.rng.choice([*self.pools, None])
        for node in nodes:
            if node["kind"] == "empty":
                continue
            if is_narrow:
                if pool is not None:
                    node |= {"pool": pool, "slots": self.each}
            else:
                self._limit_freely(node)

    def _limit_freely(self, node: dict[str, Any]) -> None:
        if self.pools and self._chance(0.7):
            node["pool"] = self.rng.choice(list(self.pools))
            node["slots"] = self.each
        elif self._chance(0.3):
            node["max_dag"] = self.rng.randint(1, 2)
        if self._chance(0.1):
            node["max_tis"] = 1
        if self.has_past and self._chance(0.6):
            node["past"] = True
            node["wait"] = self._chance(0.3)
            node["first"] = self._chance(0.3)

    def _runs(self, n: int, dag: dict[str, Any], count: int) -> list[dict[str, Any]]:
        days = self.rng.sample(range(-count, 0), count)
        times = [self.rng.choice((0, 0, 0, 1, 2.5)) for _ in days]
        if self.has_past or self._chance(0.7):
            days.sort()
            times.sort()
        return [
            {
                "dag": n,
                "run_id": f"{dag['dag_id']}_{day}",
                "type": "manual" if self._chance(0.2) else "scheduled",
                "day": day,
                "at": at,
                "script": {
                    node["id"]: self._actions(node["retries"]) for node in dag["nodes"]
                },
            }
            for day, at in zip(days, times, strict=True)
        ]

    def _actions(self, retries: int) -> list[dict[str, Any]]:
        actions: list[dict[str, Any]] = []
        for _ in range(retries + 1):
            do = self.rng.choices(_ENDS, (70, 10, 6, 6, 8))[0]
            action = {"do": do, "dur": self.rng.choice(_DURATIONS_S)}
            if do in ("reschedule", "defer"):
                action["delay"] = self.rng.choice((2, 5))
            actions.append(action)
        return [*actions, {"dur": 1}]

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share
