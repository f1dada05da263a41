"""Measures the container image: its size and parts, how soon it is of use, its memory, its stop."""

import json
import math
import time
from dataclasses import dataclass, field
from statistics import median

from tests.image.container import IMAGE, docker, run, started, until, volume

_SETTLE_S = 15.0
_MB = 1e6
_MIB = 2**20
_SITE = "/opt/appliance/lib/python3*/site-packages"
_MEASURE = f"""
cd {_SITE}
parts=/opt/appliance/bin/temporal
for name in temporalio airflow sqlalchemy grpc cryptography libcst; do parts="$parts $name"; done
du --apparent-size -sb --exclude=__pycache__ $parts
du --apparent-size -sbc $(find /opt/appliance -name __pycache__ -prune) | tail -1
du --apparent-size -sb /opt/appliance
"""


@dataclass(slots=True)
class Timings:
    """Seconds and bytes of each round."""

    well_s: list[float] = field(default_factory=list)
    first_task_s: list[float] = field(default_factory=list)
    stop_s: list[float] = field(default_factory=list)
    idle_mb: list[float] = field(default_factory=list)


def table(runs: int) -> str:
    """Measure ``runs`` times and return two Markdown tables."""
    timings = Timings()
    for _ in range(runs):
        _round(timings)
    size_mb = json.loads(docker("image", "inspect", IMAGE).stdout)[0]["Size"] / _MB
    lines = [
        "| the image | measured | to reach |",
        "|---|---|---|",
        f"| `docker run` to healthy | {median(timings.well_s):.1f} s | at most 6 s |",
        "| `docker run` to the first task done | "
        f"{median(timings.first_task_s):.1f} s | at most 8 s |",
        f"| size | {size_mb:.0f} MB | at most 600 MB |",
        f"| memory idle | {median(timings.idle_mb):.0f} MB | at most 450 MB |",
        "| `docker stop` with nothing running | "
        f"{median(timings.stop_s):.1f} s | at most 5 s |",
        "",
        "| part of the image | MB |",
        "|---|---|",
        *(f"| {name} | {size:.0f} |" for name, size in _parts(size_mb)),
        "",
    ]
    return "\n".join(lines)


def _round(timings: Timings) -> None:
    """Start twice: to healthy and on to idle and stop, and to the end of a first task."""
    with volume() as name:
        began = time.monotonic()
        with started("-v", f"{name}:/data") as box:
            box.wait_until_well()
            timings.well_s.append(time.monotonic() - began)
            time.sleep(_SETTLE_S)
            timings.idle_mb.append(_memory_mb(box.name))
            began = time.monotonic()
            docker("stop", box.name)
            timings.stop_s.append(time.monotonic() - began)
    with volume() as name:
        began = time.monotonic()
        with started("-v", f"{name}:/data") as box:
            until(lambda: box.exec("submit", "my_dag", "--wait").code == 0, box.logs)
            timings.first_task_s.append(time.monotonic() - began)


def _memory_mb(name: str) -> float:
    """Return what the engine accounts to the container, without its file cache."""
    shown = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", name).stdout
    used = shown.split("/")[0].strip()
    assert used.endswith("MiB"), used
    return float(used.removesuffix("MiB")) * _MIB / _MB


def _parts(size_mb: float) -> list[tuple[str, float]]:
    """Return the parts, largest first, and what is left of the whole as the last."""
    measured = {}
    for line in run(words=("sh", "-c", _MEASURE)).stdout.splitlines():
        size, name = line.split("\t")
        measured[name] = float(size) / _MB
    code = measured.pop("total")
    environment = measured.pop("/opt/appliance")
    named = {
        "Temporal server, its UI and command": measured.pop(
            "/opt/appliance/bin/temporal"
        ),
        **{f"`{name}`": size for name, size in measured.items()},
        "byte code of all packages": code,
    }
    named["other packages"] = environment - math.fsum(named.values())
    named["Debian with Python, certificates, tini"] = size_mb - environment
    return sorted(named.items(), key=lambda part: -part[1])
