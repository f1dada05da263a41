"""``make parity``: compare many random DAGs with Airflow; every difference is shown and kept.

Usage: python -m tests.parity N [SEED]
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.parity.comparison import Comparison, compare_crowds, compare_many

KEPT = Path("build/parity-differences.jsonl")
"""Specs that differed, a line each, ready for ``regressions.jsonl``."""
EVERY = 50
RUNS_SHARE = 3
"""For so many DAGs one crowd of several runs is compared."""


def main(count: int, seed: int) -> int:
    """Compare ``count`` DAGs; return how many differ."""
    began, compared, refused, different = time.monotonic(), 0, 0, 0
    print(f"{count} random DAGs, SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory() as home:
        found = compare_many(Path(home), seed, count, oracles=os.cpu_count() or 1)
        for comparison in found:
            refused += bool(comparison.refused)
            compared += not comparison.refused
            if comparison.difference:
                different += 1
                _keep(comparison)
            if compared % EVERY == 0 and not comparison.refused:
                took = time.monotonic() - began
                print(
                    f"{compared} compared, {different} differ, {took:.0f} s", flush=True
                )
    different += _compare_crowds(count // RUNS_SHARE, seed)
    took = time.monotonic() - began
    print(
        f"{compared} compared from seed {seed} in {took:.0f} s: {different} differ "
        f"(and {refused} that Airflow refuses to parse)"
    )
    return different


def _compare_crowds(count: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as home:
        found = compare_crowds(Path(home), seed, count, oracles=os.cpu_count() or 1)
        differences = [difference for difference in found if difference]
    print(*differences, sep="\n")
    print(f"{count} crowds of runs compared, {len(differences)} differ", flush=True)
    return len(differences)


def _keep(comparison: Comparison) -> None:
    print(f"{comparison.spec['dag_id']} differs:\n{comparison.difference}", flush=True)
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        file.write(json.dumps({"spec": comparison.spec}) + "\n")


if __name__ == "__main__":
    wanted = int(sys.argv[1])
    start = int(sys.argv[2]) if sys.argv[2:] else random.SystemRandom().randrange(10**9)
    sys.exit(1 if main(wanted, start) else 0)
