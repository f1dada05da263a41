"""Kills parts of a box at random moments while runs are under way, and says what it has killed.

``python -m tests.faults.killing LIVES [SEED]`` (``make test-kills``) does it for as many lives of a box as one likes; the
seed decides what is killed after which pauses, not what is going on by then.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from temporalio.client import Client

from appliance.config.load import load
from appliance.temporal.connection import dial
from tests.box import RunningBox, running_box
from tests.faults.accounts import Kill, complaints, counters
from tests.faults.processes import family, is_alive, parents, until

DAGS = Path(__file__).parent / "dags"
DAG_IDS = ("counted_once", "counted_again")
SERVER = "temporal server start-dev"
WORKER = "appliance worker"
ZYGOTE = "appliance.forkserver.zygote"

WEIGHTS = {"task": 8, "dag zygote": 3, "zygote": 2, "worker": 2, "server": 2}
MOST = {"worker": 3, "server": 3}
"""In one life of a box, which is given up when a part ends five times in five minutes."""
SUBMIT_EVERY_S = 1.5
LONGEST_PAUSE_S = 1.5
NEWEST = 10
"""How many of the latest tries are looked at."""


@dataclass(slots=True)
class Campaign:
    """Runs and kills, over several lives of one box."""

    folder: Path
    seed: int
    kills: list[Kill] = field(default_factory=list)
    submitted: list[tuple[str, str]] = field(default_factory=list)
    """DAG and run ids of all that were acknowledged."""
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no counters and a fresh seed."""
        (self.folder / "counters").touch()
        say(f"seed {self.seed}")
        self.dice = random.Random(self.seed)  # noqa: S311

    def run(self, *, lives: int, kills: int) -> list[str]:
        """Kill parts so many times in each life of the box, then the whole of it; return what is wrong in the end."""
        for life in range(lives):
            environ = self.environ()
            with running_box(dags=DAGS, folder=self.folder, environ=environ) as box:
                self._harm(box, kills)
                if life < lives - 1:
                    self._kill_all(box)
                else:
                    return asyncio.run(self._settle(box))
        raise AssertionError("a box needs a life")

    def environ(self) -> Mapping[str, str]:
        """Return settings for the box."""
        return {}

    def pause(self) -> None:
        """Wait until a task runs and a moment more, so that a kill mostly hits one."""
        self._wait_for_a_try()
        time.sleep(self.dice.uniform(0, LONGEST_PAUSE_S))

    def submit(self, box: RunningBox) -> None:
        """Start one more run."""
        self.start(box, DAG_IDS[len(self.submitted) % 2])

    async def judge(self, client: Client, box: RunningBox) -> list[str]:
        """Wait for the end of all runs and return what is wrong."""
        return await complaints(client, self.submitted, self.folder, self.kills)

    def _harm(self, box: RunningBox, kills: int) -> None:
        enough = threading.Event()
        submitter = threading.Thread(target=self._submit_many, args=(box, enough))
        submitter.start()
        try:
            for what in self._plan(kills):
                self.pause()
                until(f"there is a {what}", partial(self._kill, box, what))
        finally:
            enough.set()
            submitter.join()

    def _plan(self, kills: int) -> list[str]:
        """Return every kind once, then any, in no order; none so often that the box is given up."""
        planned = [*WEIGHTS]
        while len(planned) < kills:
            what = self.dice.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
            if planned.count(what) < MOST.get(what, kills):
                planned.append(what)
        self.dice.shuffle(planned)
        return planned

    def _wait_for_a_try(self) -> None:
        """Wait until a task runs, most of the time: parts that are just starting are killed, too."""
        patience_s = self.dice.choice([0.0, 10.0, 10.0, 10.0])
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            words = [line for line in counters(self.folder) if line[0] == "begun"]
            if any(is_alive(int(line[-1])) for line in words[-NEWEST:]):
                return
            time.sleep(0.05)

    def _submit_many(self, box: RunningBox, enough: threading.Event) -> None:
        while not enough.wait(SUBMIT_EVERY_S):
            self.submit(box)

    def start(self, box: RunningBox, dag_id: str) -> None:
        """Start a run of a DAG; the next call starts the same one if this is not acknowledged."""
        run_id = f"run{len(self.submitted)}"
        conf = f'{{"folder": "{self.folder}"}}'
        said = box.submit(dag_id, "--run-id", run_id, "--conf", conf)
        if said.code == 0 or "is used already" in said.stderr:
            self.submitted.append((dag_id, run_id))
        else:  # Not acknowledged: the next call asks again.
            say(f"submit {run_id}: {said.code} {said.stderr.strip()[:200]}")

    def _kill(self, box: RunningBox, what: str) -> bool:
        found = sorted(_targets(box, what))
        if not found:
            return False
        pid = self.dice.choice(found)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self._note(what)
            return True
        return False

    def _kill_all(self, box: RunningBox) -> None:
        """Kill every process at once, as the end of a container does."""
        time.sleep(self.dice.uniform(0, LONGEST_PAUSE_S))
        all_of_it = list(family(box.process.pid))
        for pid in all_of_it:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._note("box")
        box.process.wait()
        until("all its processes end", lambda: not any(map(is_alive, all_of_it)))

    def _note(self, what: str) -> None:
        say(f"{time.time():.3f} killed: {what}")
        self.kills.append(Kill(what, time.time()))

    async def _settle(self, box: RunningBox) -> list[str]:
        # The server may have been killed a moment ago.
        client = await dial(load(box.environ, cwd=Path.cwd()), wait_s=60.0)
        return await self.judge(client, box)


def _targets(box: RunningBox, what: str) -> Iterator[int]:
    """Yield the processes of a kind. All that is forked has the command line of what it was forked from."""
    words = {"server": SERVER, "worker": WORKER}.get(what, ZYGOTE)
    commands, above = family(box.process.pid), parents()
    named = {pid for pid, command in commands.items() if words in command}
    depths = {"zygote": 0, "dag zygote": 1, "task": 2}
    for pid in named:
        depth, up = 0, above.get(pid)
        while up in named:
            depth, up = depth + 1, above.get(up)
        if depth == depths.get(what, 0):
            yield pid


def say(text: str) -> None:
    """Print what happens, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(kind: type[Campaign] = Campaign) -> None:
    """Kill over so many lives of a box; print the seed and every complaint."""
    lives = int(sys.argv[1])
    given = sys.argv[2:]
    seed = int(given[0]) if given else random.SystemRandom().randrange(10**6)
    folder = Path(tempfile.mkdtemp(prefix="kills"))
    say(f"folder {folder}")
    campaign = kind(folder, seed)
    found = campaign.run(lives=lives, kills=12)
    say(f"{len(campaign.submitted)} runs, {Counter(k.what for k in campaign.kills)}")
    say("\n".join(found) or "nothing to complain about")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
