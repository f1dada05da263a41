"""The figures of a bench, and what they have to reach, as a Markdown table."""

import math
import os
import platform
from dataclasses import dataclass, field

from tests.bench.entities import QUEUED_RUNS, Costs
from tests.bench.folder import Looks, Took
from tests.bench.fork_cost import ALL, PARTS, ForkCosts
from tests.bench.scheduling import ROUNDS
from tests.bench.waits import Waits

Row = tuple[str | None, ...]
"""The cells of a row; None for one that has nothing to tell."""


@dataclass(slots=True)
class Figures:
    """Medians; NaN for what was not measured."""

    runs: int
    """How many each figure of the appliance, and of bare Temporal, is the median of."""
    airflow_runs: int
    chain_ms: float = math.nan
    bare_ms: float = math.nan
    fan_per_s: float = math.nan
    submit_s: float = math.nan
    memory_mb: float = math.nan
    memory_used_mb: float = math.nan
    mapped_pass_ms: float = math.nan
    separate_pass_ms: float = math.nan
    costs: Costs = field(default_factory=Costs)
    looks: Looks = field(default_factory=Looks)
    waits: Waits = field(default_factory=Waits)
    forks: ForkCosts = field(default_factory=ForkCosts)
    airflow_chain_ms: float = math.nan
    airflow_fan_per_s: float = math.nan
    airflow_trigger_s: float = math.nan
    airflow_memory_mb: float = math.nan
    airflow_memory_used_mb: float = math.nan
    loads: list[float] = field(default_factory=list)


def markdown(figures: Figures) -> str:
    """Return the table, with the machine it was measured on below it."""
    f = figures
    rows = (
        *_compared(f),
        *_cost(f.costs),
        *_many_files(f.looks),
        *_many_waits(f.waits),
        *_care_of_memory(f.forks),
    )
    lines = ["| what | appliance | other | ratio | to reach |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows if None not in row]
    loads = ", ".join(f"{load:.1f}" for load in f.loads)
    lines += [
        "",
        f"Runs a median is of: {f.runs}, of Airflow {f.airflow_runs}; scheduling passes: {ROUNDS}. Memory, the folder and the waits were measured once.",
        f"Python {platform.python_version()} on {os.cpu_count()} cores; load average before, between and after the parts: {loads}.",
        "Both engines have 8 slots. Airflow's memory is that of api-server, scheduler and dag-processor, without its PostgreSQL.",
        "",
    ]
    return "\n".join(lines)


def _compared(f: Figures) -> tuple[Row, ...]:
    return (
        (
            "chain of 50 empty tasks, against 50 no-op activities of a bare workflow",
            _cell("{:.1f} ms a task", f.chain_ms),
            _cell("{:.1f} ms", f.bare_ms),
            _cell("{:.1f} x", f.chain_ms / f.bare_ms),
            _goal("at most 4 x", is_reached=f.chain_ms <= 4 * f.bare_ms),
        ),
        (
            "the same chain, against Airflow",
            _cell("{:.1f} ms a task", f.chain_ms),
            _cell("{:.0f} ms", f.airflow_chain_ms),
            _cell("{:.0f} x faster", f.airflow_chain_ms / f.chain_ms),
            _goal("at least 25 x", is_reached=f.airflow_chain_ms >= 25 * f.chain_ms),
        ),
        (
            "100 tasks side by side, against Airflow",
            _cell("{:.0f} tasks/s", f.fan_per_s),
            _cell("{:.1f} tasks/s", f.airflow_fan_per_s),
            _cell("{:.1f} x", f.fan_per_s / f.airflow_fan_per_s),
            _goal("at least 10 x", is_reached=f.fan_per_s >= 10 * f.airflow_fan_per_s),
        ),
        (
            "`submit`, against `airflow dags trigger`",
            _cell("{:.0f} ms", f.submit_s * 1000),
            _cell("{:.0f} ms", f.airflow_trigger_s * 1000),
            _cell("{:.1f} x faster", f.airflow_trigger_s / f.submit_s),
            _goal(
                "at least 5 x, at most 500 ms",
                is_reached=5 * f.submit_s <= min(f.airflow_trigger_s, 2.5),
            ),
        ),
        (
            "idle memory (PSS), fresh; after the runs above, one DAG file held open",
            _cell("{:.0f} MB; {:.0f} MB", f.memory_mb, f.memory_used_mb),
            _cell(
                "{:.0f} MB; {:.0f} MB", f.airflow_memory_mb, f.airflow_memory_used_mb
            ),
            _cell("{:.2f} x", f.memory_mb / f.airflow_memory_mb),
            _goal(
                "at most 450 MB", is_reached=max(f.memory_mb, f.memory_used_mb) <= 450
            ),
        ),
        (
            "one scheduling pass over 10,000 instances of a task; over 10,000 tasks",
            _cell("{:.0f} ms; {:.0f} ms of CPU", f.mapped_pass_ms, f.separate_pass_ms),
            "",
            "",
            _goal(
                "at most 50 ms",
                is_reached=max(f.mapped_pass_ms, f.separate_pass_ms) <= 50,
            ),
        ),
    )


def _cost(c: Costs) -> tuple[Row, ...]:
    return (
        (
            "the chain of 50 tasks, each with a slot of a pool, against none",
            _cell("{:.1f} ms and {:.1f} events a task", c.pooled_ms, c.pooled_events),
            _cell("{:.1f} ms, {:.1f} events", c.plain_ms, c.plain_events),
            _cell("{:.1f} x", c.pooled_ms / c.plain_ms),
            "",
        ),
        (
            f"{QUEUED_RUNS} runs of a task, one at a time by `max_active_runs`, against one alone",
            _cell("{:.0f} ms a run", c.queued_ms),
            _cell("{:.0f} ms", c.alone_ms),
            _cell("{:.1f} x", c.queued_ms / c.alone_ms),
            "",
        ),
        (
            "a run announces itself to its DAG; tells how it ended",
            _cell("{:.1f} ms; {:.1f} ms", c.announce_ms, c.close_ms),
            _cell("a run: {:.0f} ms", c.alone_ms),
            _cell("{:.2f} x", (c.announce_ms + c.close_ms) / c.alone_ms),
            "",
        ),
    )


def _many_files(looks: Looks) -> tuple[Row, ...]:
    what = f"{looks.files:,} DAG files"
    return (
        (f"{what}: first pass", _took(looks.first), "", "", ""),
        (f"{what}: second pass, nothing changed", _took(looks.unchanged), "", "", ""),
        (f"{what}: third pass, one file saved", _took(looks.saved), "", "", ""),
        (
            f"{what}: memory (PSS) after these passes, more than before",
            _cell("{:.1f} MB", looks.more_mb),
            "",
            "",
            "",
        ),
    )


def _many_waits(w: Waits) -> tuple[Row, ...]:
    what = f"{w.count:,} deferred waits"
    return (
        (
            f"{what}: memory (PSS) of the triggerer; of the whole appliance",
            _cell("{:.0f} MB; {:.0f} MB", w.triggerer_mb, w.box_mb),
            "",
            "",
            _goal("triggerer at most 250 MB", is_reached=w.triggerer_mb <= 250),
        ),
        (
            f"{what}: how late they wake up, at the median; nine of ten within",
            _cell("{:.2f} s; {:.2f} s", w.late_s, w.ninth_late_s),
            "",
            "",
            _goal("median at most 1 s", is_reached=w.late_s <= 1),
        ),
    )


def _care_of_memory(forks: ForkCosts) -> tuple[Row, ...]:
    form = "{:.1f} ms, {:.1f} ms of CPU, {:,.0f} page faults"
    costs = forks.without(ALL)
    with_all = _cell(form, costs.clock_ms, costs.cpu_ms, costs.faults)
    rows = []
    for part in PARTS:
        less = forks.without(part)
        rows.append(
            (
                f"one try that finds a child waiting, against one without {part}",
                with_all,
                _cell(form, less.clock_ms, less.cpu_ms, less.faults),
                _cell("{:.2f} x", costs.clock_ms / less.clock_ms),
                "",
            )
        )
    return tuple(rows)


def _took(took: Took) -> str | None:
    return _cell("{:.2f} s, {:.2f} s of CPU", took.clock_s, took.cpu_s)


def _cell(form: str, *figures: float) -> str | None:
    """Return figures in a form of words; None when one of them was not measured."""
    return None if any(map(math.isnan, figures)) else form.format(*figures)


def _goal(text: str, *, is_reached: bool) -> str:
    return text if is_reached else f"{text}: **not reached**"
