"""What the tasks here leave behind: a line when a try begins and one when it is done."""

import os
import time
from pathlib import Path


def count(context, shortest_s, longest_s):
    ti = context["ti"]
    folder = Path(context["dag_run"].conf["folder"])
    note = f"{ti.dag_id} {ti.run_id} {ti.task_id} {ti.map_index} {ti.try_number}"
    _append(folder, f"begun {note} {os.getpid()}")
    time.sleep(
        shortest_s + (longest_s - shortest_s) * int.from_bytes(os.urandom(1)) / 255
    )
    _append(folder, f"done {note} {os.getpid()}")


def _append(folder, line):
    # One write, appended: no two tries can mix their lines, and a kill leaves a whole line or none.
    with (folder / "counters").open("ab", buffering=0) as counters:
        counters.write(f"{line}\n".encode())
