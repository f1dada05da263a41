"""Seeded random DAG specs: plain JSON that ``dags.build_dag`` turns into an Airflow DAG.

Spec: {"dag_id", "fail_fast", "max_active_tasks", "dagrun_timeout"?, "start"?, "end"?, "nodes": [Node], "script",
       "options"}
Node, task:  {"id", "kind": task|empty|branch|short, "rule", "retries", "retry_delay", "backoff"?, "max_delay"?,
              "up": [ids], "setup"?, "teardown"?, "fail_dagrun"?, "map"?: {arg: Source} | {"*": Source},
              "max_tis"?: n, "max_dag"?: n, "priority"?: n, "weight"?: rule|"custom", "pool"?: name, "start"?, "end"?}
Node, group: {"group": id, "up": [ids], "map"?: as above, "nodes": [Node]}
Source: {"lit": n} | {"xcom": task id} | {"map": S} | {"zip": [S, ...], "fill": bool} | {"concat": [S, ...]}

A "*" source means expand_kwargs; "start" and "end" are days from the run's logical date. Upstream ids always precede
their users; task ids are unique and unprefixed. A seed gives the same spec for ever, of a theme the seed chooses:
failures are reported by seed. Airflow refuses some specs at parse time.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
Node = dict[str, Any]

RULES = (
    "all_success",
    "all_failed",
    "all_done",
    "all_done_min_one_success",
    "all_done_setup_success",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_skipped",
    "always",
    "none_failed_min_one_success",
    "all_skipped",
)
WEIGHTS = ("absolute", "downstream", "upstream", "custom")
MAX_MAP_LENGTH = 6
"""What ``[core] max_map_length`` is set to; some values are longer."""
MOST_GROUPS_DEEP = 3
TAMED_DELAY_S = 0.1

_ENDS = ("success", "fail", "fail_now", "skip", "reschedule", "defer", "remove")
_END_WEIGHTS = (70, 14, 2, 9, 3, 2, 0)
_KINDS = ("task", "empty", "branch", "short", "setup", "teardown")


@dataclass(frozen=True)
class Theme:
    """How often what comes up."""

    share: int
    kinds: tuple[int, ...] = (59, 12, 8, 5, 8, 8)
    ends: tuple[int, ...] = _END_WEIGHTS
    fail_fast: float = 0.08
    timeout: float = 0.04
    limits: float = 0.1
    dates: float = 0.005
    """Of a task; a quarter of it of the whole DAG."""
    group: float = 0.12
    mapped_group: float = 0.6
    mapped: float = 0.3
    composed: float = 0.3
    """Of sources that are more than one XCom."""
    odd_source: float = 0.01
    """Of mapping over what returns no list, or is itself in a mapped group."""
    retries: float = 0.25


THEMES = {
    "anything": Theme(share=40),
    "setups": Theme(share=14, kinds=(40, 6, 8, 8, 19, 19), fail_fast=0.2),
    "mapping": Theme(
        share=18,
        kinds=(75, 5, 6, 4, 5, 5),
        group=0.3,
        mapped_group=0.8,
        mapped=0.45,
        composed=0.5,
        odd_source=0.08,
    ),
    "limits": Theme(share=14, limits=1.0, mapped=0.4, timeout=0.15, dates=0.02),
    "dates": Theme(share=7, dates=0.12, timeout=0.3),
    "removals": Theme(share=7, ends=(50, 10, 2, 10, 2, 2, 24), mapped=0.4),
}


def generate(seed: int, *, size: int | None = None) -> Spec:
    """Return one random spec of about ``size`` tasks (3 to 16 when not given)."""
    if size is None:
        size = random.Random(seed * 7919).randint(3, 16)  # noqa: S311
    return _Generator(seed, size).spec()


def tamed(spec: Spec) -> Spec:
    """Return a spec with only what real tasks can do at once: no limits, no long delays, nobody removed."""
    kept = ("dag_id", "fail_fast", "start", "end", "nodes")
    script = {
        name: [_tamed_action(a) for a in steps]
        for name, steps in spec["script"].items()
    }
    return {
        **{key: spec[key] for key in kept if key in spec},
        "nodes": [_tamed_node(node) for node in spec["nodes"]],
        "script": script,
        "options": {"batch": True},
    }


def _tamed_node(node: Node) -> Node:
    if "group" in node:
        return {**node, "nodes": [_tamed_node(inner) for inner in node["nodes"]]}
    wild = ("backoff", "max_delay", "max_tis", "max_dag", "priority", "weight")
    node = {key: value for key, value in node.items() if key not in wild}
    return {**node, "retry_delay": TAMED_DELAY_S}


def _tamed_action(action: dict[str, Any]) -> dict[str, Any]:
    action = {key: value for key, value in action.items() if key != "retry_delay"}
    match action.get("do"):
        case "remove":
            return {**action, "do": "success"}
        case "defer" | "reschedule":
            return {**action, "do": "reschedule", "delay": TAMED_DELAY_S}
        case _:
            return action


class _Generator:
    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311
        self.size = size
        shares = [theme.share for theme in THEMES.values()]
        self.theme = self.rng.choices(list(THEMES.values()), shares)[0]
        self.groups = 0
        self.script: dict[str, list[dict[str, Any]]] = {}
        self.tasks: dict[str, Node] = {}
        self.sources: dict[str, str] = {}
        """Task -> kind of its return value, "list" or "dicts"."""
        self.fail_fast = self._chance(self.theme.fail_fast)

    def spec(self) -> Spec:
        nodes: list[Node] = []
        while len(self.tasks) < self.size:
            is_group = self._chance(self.theme.group)
            nodes.append(self._group(depth=1) if is_group else self._task())
        self._script_branches()
        spec: Spec = {
            "dag_id": f"gen_{self.seed}",
            "fail_fast": self.fail_fast,
            "max_active_tasks": 16,
            "nodes": nodes,
            "script": self.script,
            "options": {"batch": self._chance(0.5)},
        }
        if self._chance(self.theme.limits):
            self._limit(spec)
        if self._chance(self.theme.timeout):
            spec["dagrun_timeout"] = self.rng.choice((2, 5, 20, 60))
        self._date(spec, self.theme.dates / 4)
        return spec

    def _limit(self, spec: Spec) -> None:
        spec["options"]["limits"] = True
        spec["max_active_tasks"] = self.rng.randint(1, 4)
        highest = self.rng.choice((3, 100))
        for node in self.tasks.values():
            if self._chance(0.8):
                node["priority"] = self.rng.randint(1, highest)
            if self._chance(0.8):
                # Airflow 3.3.2 cannot create runs with a custom strategy on a mapped task.
                node["weight"] = self.rng.choice(WEIGHTS[: 3 if "map" in node else 4])
            if self._chance(0.15):
                node["max_tis"] = self.rng.randint(1, 2)
            if self._chance(0.08):
                node["max_dag"] = self.rng.randint(1, 3)

    def _date(self, dated: dict[str, Any], share: float) -> None:
        if self._chance(share):
            dated["start"] = self.rng.choice((-30, -30, -3, 0, 3))
        if self._chance(share / 2):
            dated["end"] = self.rng.choice((30, 3, 0, -3))

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share

    # Tasks

    def _task(self, *, in_mapped: bool = False) -> Node:
        task_id = f"t{len(self.tasks)}"
        node: Node = {
            "id": task_id,
            "kind": "task",
            "rule": "all_success",
            "retries": 0,
            "retry_delay": 30,
            "up": self._upstreams(),
        }
        if self._chance(0.5):
            node["rule"] = self.rng.choice(RULES)
        self._choose_kind(node)
        if node["kind"] == "task" and not node.get("teardown"):
            self._choose_retries(node)
            if not in_mapped and self._chance(self.theme.mapped):
                self._map(node)
        self._date(node, self.theme.dates)
        is_mapped = in_mapped or "map" in node
        self._keep_rules_legal(node, is_mapped=is_mapped)
        if node["kind"] == "task":
            self._script(node, in_mapped=in_mapped)
        self.tasks[task_id] = node
        return node

    def _upstreams(self) -> list[str]:
        known = list(self.tasks)
        if not known or self._chance(0.12):
            return []
        recent = known[-6:]
        count = self.rng.choice((1, 1, 2, 2, 3))
        chosen = {
            self.rng.choice(recent if self._chance(0.8) else known)
            for _ in range(count)
        }
        return sorted(chosen)

    def _choose_kind(self, node: Node) -> None:
        kind = self.rng.choices(_KINDS, self.theme.kinds)[0]
        if kind == "setup":
            node["setup"] = True
        elif kind == "teardown" and node["up"]:
            node["teardown"] = True
            node["fail_dagrun"] = self._chance(0.4)
            node["rule"] = "all_done_setup_success"
            setups = [t for t, n in self.tasks.items() if n.get("setup")]
            if setups:
                chosen = self.rng.choices(setups, k=self.rng.choice((1, 1, 2, 3)))
                node["up"] = sorted({*node["up"], *chosen})
        elif kind in ("empty", "branch", "short"):
            node["kind"] = kind

    def _choose_retries(self, node: Node) -> None:
        if not self._chance(self.theme.retries):
            return
        node["retries"] = self.rng.choice((1, 2))
        if self._chance(0.5):
            node["backoff"] = self.rng.choice((1.5, 2.0, 3.0))
            node["max_delay"] = self.rng.choice((None, 40))

    def _keep_rules_legal(self, node: Node, *, is_mapped: bool) -> None:
        """Keep to what Airflow allows below a setup, with fail_fast and in mapped groups."""
        below_setup = any(self.tasks[up].get("setup") for up in node["up"])
        if (below_setup or self.fail_fast) and not node.get("teardown"):
            node["rule"] = "all_success"
        if node["rule"] == "always" and is_mapped:
            node["rule"] = "all_done"

    # Groups and mapping

    def _group(self, *, depth: int, in_mapped: bool = False) -> Node:
        node: Node = {"group": f"g{self.groups}", "up": self._upstreams(), "nodes": []}
        self.groups += 1
        if self._chance(self.theme.mapped_group):
            self._map(node, add_upstreams=False)
        is_mapped = in_mapped or "map" in node
        before = set(self.tasks)
        for _ in range(self.rng.randint(1, 4)):
            is_nested = depth < MOST_GROUPS_DEEP and self._chance(self.theme.group)
            child = (
                self._group(depth=depth + 1, in_mapped=is_mapped)
                if is_nested
                else self._task(in_mapped=is_mapped)
            )
            node["nodes"].append(child)
        # Upstreams of a group are those of its roots, which are bound by the same rules.
        ups = {*node["up"], *references(node.get("map"))}
        if any(self.tasks[up].get("setup") for up in ups):
            for task_id in self.tasks.keys() - before:
                if not self.tasks[task_id].get("teardown"):
                    self.tasks[task_id]["rule"] = "all_success"
        return node

    def _map(self, node: Node, *, add_upstreams: bool = True) -> None:
        lists = [t for t, kind in self.sources.items() if kind == "list"]
        dicts = [t for t, kind in self.sources.items() if kind == "dicts"]
        if self.tasks and self._chance(self.theme.odd_source):
            lists = dicts = list(self.tasks)
        if dicts and self._chance(0.25):
            node["map"] = {"*": self._dict_source(dicts)}
        else:
            count = self.rng.choice((2, 2, 3)) if self._chance(0.2) else 1
            names = ("x", "y", "z")[:count]
            node["map"] = {name: self._source(lists) for name in names}
            if count > 1 and self._chance(0.7):  # products grow fast enough
                node["map"]["x"] = {"lit": self.rng.randrange(3)}
        if add_upstreams:
            node["up"] = sorted({*node["up"], *references(node["map"])})

    def _dict_source(self, dicts: list[str]) -> dict[str, Any]:
        one, other = ({"xcom": self.rng.choice(dicts)} for _ in range(2))
        kind = self.rng.choices(("xcom", "map", "concat", "lit"), (80, 10, 5, 5))[0]
        match kind:
            case "map":
                return {"map": one}
            case "concat":
                return {"concat": [one, other]}
            case "lit":
                return {"lit": self.rng.randrange(4)}
            case _:
                return one

    def _source(self, lists: list[str], *, depth: int = 0) -> dict[str, Any]:
        if not lists or (depth == 0 and self._chance(0.12)):
            return {"lit": self.rng.randrange(5)}
        if depth > 1 or not self._chance(self.theme.composed):
            return {"xcom": self.rng.choice(lists)}
        count = self.rng.choice((2, 2, 3))
        parts = [self._source(lists, depth=depth + 1) for _ in range(count)]
        match self.rng.choice(("map", "zip", "concat")):
            case "map":
                return {"map": parts[0]}
            case "zip":
                return {"zip": parts, "fill": self._chance(0.5)}
            case _:
                return {"concat": parts}

    # What the tasks do

    def _script(self, node: Node, *, in_mapped: bool) -> None:
        task_id = node["id"]
        returns = self._choose_return(node)
        if returns and ("map" in node or not in_mapped):
            self.sources[task_id] = "list" if "map" in node else returns
        self.script[task_id] = self._actions(node["retries"], returns)
        if in_mapped or "map" in node:
            for index in range(MAX_MAP_LENGTH):
                if self._chance(0.5):
                    actions = self._actions(node["retries"], returns)
                    self.script[f"{task_id}[{index}]"] = actions

    def _choose_return(self, node: Node) -> str:
        if node.get("setup") or node.get("teardown") or self._chance(0.45):
            return ""
        return self.rng.choice(("list", "list", "dicts"))

    def _actions(self, retries: int, returns: str) -> list[dict[str, Any]]:
        """Script the executions of one instance; the last one ends it, come what may."""
        actions: list[dict[str, Any]] = []
        for _ in range(retries + 2):
            action = self._action(returns)
            actions.append(action)
            if action["do"] in ("success", "skip", "fail_now", "remove"):
                break
        if actions[-1]["do"] in ("reschedule", "defer"):
            value = self._value(returns) if returns else None
            actions.append({"do": "success", "value": value})
        return actions

    def _action(self, returns: str) -> dict[str, Any]:
        do = self.rng.choices(_ENDS, self.theme.ends)[0]
        action: dict[str, Any] = {"do": do, "dur": self.rng.choice((1, 1, 1, 2, 3, 5))}
        if do in ("reschedule", "defer"):
            action["delay"] = self.rng.choice((5, 20))
        if do == "fail" and self._chance(0.1):
            action["retry_delay"] = 7
        if do == "success" and returns:
            action["value"] = self._value(returns)
        return action

    def _value(self, returns: str) -> Any:
        if self._chance(0.04):
            return None
        length = self.rng.randrange(5)
        if self._chance(0.03):
            length = MAX_MAP_LENGTH + 1
        numbers = range(length)
        return [{"x": i} for i in numbers] if returns == "dicts" else list(numbers)

    def _script_branches(self) -> None:
        """Choose whom branches follow: known only once the whole DAG is."""
        down: dict[str, list[str]] = {task_id: [] for task_id in self.tasks}
        for task_id, node in self.tasks.items():
            for up in node["up"]:
                down[up].append(task_id)
        for task_id, node in self.tasks.items():
            if node["kind"] == "branch":
                follow = [d for d in down[task_id] if self._chance(0.5)]
                self.script[task_id] = [{"do": "branch", "follow": follow}]
            elif node["kind"] == "short":
                value, direct = self._chance(0.4), self._chance(0.4)
                action = {"do": "short_circuit", "value": value, "direct": direct}
                self.script[task_id] = [action]


def references(source: Any) -> Iterator[str]:
    """Yield the task ids a mapping source is read from."""
    if isinstance(source, dict):
        if "xcom" in source:
            yield source["xcom"]
        source = list(source.values())
    if isinstance(source, list):
        for part in source:
            yield from references(part)
