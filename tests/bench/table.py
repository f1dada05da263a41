"""The figures of a bench, and what they have to reach, as a Markdown table."""

import os
import platform
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figures:
    """Medians; NaN for what was not measured."""

    chain_ms: float = float("nan")
    bare_ms: float = float("nan")
    fan_per_s: float = float("nan")
    submit_s: float = float("nan")
    memory_mb: float = float("nan")
    memory_used_mb: float = float("nan")
    mapped_pass_ms: float = float("nan")
    separate_pass_ms: float = float("nan")
    airflow_chain_ms: float = float("nan")
    airflow_fan_per_s: float = float("nan")
    airflow_trigger_s: float = float("nan")
    airflow_memory_mb: float = float("nan")
    airflow_memory_used_mb: float = float("nan")
    loads: list[float] = field(default_factory=list)


def markdown(figures: Figures) -> str:
    """Return the table, with the machine it was measured on below it."""
    f = figures
    rows = (
        (
            "chain of 50 empty tasks, against 50 no-op activities of a bare workflow",
            f"{f.chain_ms:.1f} ms a task",
            f"{f.bare_ms:.1f} ms",
            f"{f.chain_ms / f.bare_ms:.1f} x",
            _goal("at most 4 x", is_reached=f.chain_ms <= 4 * f.bare_ms),
        ),
        (
            "the same chain, against Airflow",
            f"{f.chain_ms:.1f} ms a task",
            f"{f.airflow_chain_ms:.0f} ms",
            f"{f.airflow_chain_ms / f.chain_ms:.0f} x faster",
            _goal("at least 25 x", is_reached=f.airflow_chain_ms >= 25 * f.chain_ms),
        ),
        (
            "100 tasks side by side, against Airflow",
            f"{f.fan_per_s:.0f} tasks/s",
            f"{f.airflow_fan_per_s:.1f} tasks/s",
            f"{f.fan_per_s / f.airflow_fan_per_s:.1f} x",
            _goal("at least 10 x", is_reached=f.fan_per_s >= 10 * f.airflow_fan_per_s),
        ),
        (
            "`submit`, against `airflow dags trigger`",
            f"{f.submit_s * 1000:.0f} ms",
            f"{f.airflow_trigger_s * 1000:.0f} ms",
            f"{f.airflow_trigger_s / f.submit_s:.1f} x faster",
            _goal(
                "at least 5 x, at most 500 ms",
                is_reached=5 * f.submit_s <= min(f.airflow_trigger_s, 2.5),
            ),
        ),
        (
            "idle memory (PSS), fresh; after the runs above",
            f"{f.memory_mb:.0f} MB; {f.memory_used_mb:.0f} MB",
            f"{f.airflow_memory_mb:.0f} MB; {f.airflow_memory_used_mb:.0f} MB",
            f"{f.memory_mb / f.airflow_memory_mb:.2f} x",
            _goal(
                "at most 450 MB", is_reached=max(f.memory_mb, f.memory_used_mb) <= 450
            ),
        ),
        (
            "one scheduling pass over 10,000 instances of a task; over 10,000 tasks",
            f"{f.mapped_pass_ms:.0f} ms; {f.separate_pass_ms:.0f} ms of CPU",
            "",
            "",
            _goal(
                "at most 50 ms",
                is_reached=max(f.mapped_pass_ms, f.separate_pass_ms) <= 50,
            ),
        ),
    )
    lines = ["| what | appliance | other | ratio | to reach |", "|---|---|---|---|---|"]
    measured = [row for row in rows if "nan" not in row[3]]
    lines += [f"| {' | '.join(row)} |" for row in measured]
    loads = ", ".join(f"{load:.1f}" for load in figures.loads)
    lines += [
        "",
        f"Medians on {os.cpu_count()} cores, Python {platform.python_version()}; load "
        f"average before, between and after the parts: {loads}.",
        "Both engines have 8 slots. Airflow's memory is that of api-server, scheduler and dag-processor, without its PostgreSQL.",
        "",
    ]
    return "\n".join(lines)


def _goal(text: str, *, is_reached: bool) -> str:
    return text if is_reached else f"{text}: **not reached**"
