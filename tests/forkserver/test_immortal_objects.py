"""Whether a child writes to what it merely uses, in plain processes, without Airflow."""

import subprocess
import sys

COUNTING = (3, 11)
"""The last Python whose every object counts its references."""
PROGRAM = """
import os, resource, sys
from appliance.forkserver.immortal_objects import make_immortal

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

objects = [[object()] for _ in range(100_000)]
if "immortal" in sys.argv:
    make_immortal()
if os.fork() == 0:
    before = faults()
    for each in objects:
        for one in each:
            pass
    print(faults() - before)
else:
    os.wait()
"""


def told(program: str, *words: str) -> list[str]:
    """Return the words a program prints."""
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.split()


def faults(*words: str) -> int:
    """Return how many pages a child is given as it uses 200,000 objects of its parent's."""
    return int(*told(PROGRAM, *words))


def test_child_writes_to_no_immortal_object_it_uses() -> None:
    mortal, immortal = faults(), faults("immortal")

    assert mortal > 1000
    if sys.version_info[:2] > COUNTING:
        assert immortal < mortal / 10
    else:
        assert immortal > mortal / 2


def test_what_comes_later_is_mortal() -> None:
    program = """
import sys, weakref
from appliance.forkserver.immortal_objects import make_immortal
class Thing: pass
make_immortal()
seen = weakref.ref(Thing())
print(seen() is None, sys.getrefcount(Thing) > 1 << 30)
"""
    assert told(program) == ["True", str(sys.version_info[:2] > COUNTING)]


def test_collector_leaves_immortal_objects_alone() -> None:
    program = """
import gc
from appliance.forkserver.immortal_objects import make_immortal
make_immortal()
gc.freeze()
cycle = []
cycle.append(cycle)
del cycle
print(gc.collect())
"""
    assert told(program) == ["1"]
