"""Time limits of a try: execution timeout, overtime after its end, and the grace before SIGKILL.

* Beyond a time limit (``execution_timeout``, or Airflow's for reading the file): Airflow interrupts it in
  Python, which code in a C library never notices. The child says when a limit begins and when
  Python code has noticed, or was done; if neither comes, it is aborted, and its last words say where it was.
* After it reported how it ends: callbacks and listeners may run, but not for ever.
* Callbacks that Airflow's DAG processor calls are killed with that when it takes too long.
"""

import asyncio
import resource
import signal
from contextlib import suppress

from appliance.forkserver.control import Child
from appliance.taskrun.logs import TryLog


class Deadlines:
    """Watches one child; ``close`` it when the child is no longer of interest."""

    def __init__(
        self, child: Child, log: TryLog, *, grace_s: float, overtime_s: float
    ) -> None:
        """``grace_s``: how much more it gets before it is ended, and again before it is killed."""
        self._child = child
        self._log = log
        self._grace_s = grace_s
        self._overtime_s = overtime_s
        self._loop = asyncio.get_running_loop()
        self._limit: asyncio.TimerHandle | None = None
        self._overtime: asyncio.TimerHandle | None = None
        self._whole: asyncio.TimerHandle | None = None
        self.reason: str | None = None
        """Why it was aborted."""

    def limited(self, limit_s: float | None) -> None:
        """Heed what the child says: what it does now may take this long; None: that is over."""
        if self.reason is not None:
            return
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        if limit_s is not None:
            self._limit = self._loop.call_later(
                limit_s + self._grace_s, self._abort, limit_s
            )

    def reported(self) -> None:
        """Heed that it has said how it ends."""
        if self._overtime is None:
            self._overtime = self._loop.call_later(self._overtime_s, self._end_overtime)

    def only_calls_back(self, limit_s: float) -> None:
        """Heed that it is there for callbacks, and may take this long for them."""
        self._whole = self._loop.call_later(limit_s, self._kill, limit_s)

    def close(self) -> None:
        """Let it be."""
        for timer in (self._limit, self._overtime, self._whole):
            if timer is not None:
                timer.cancel()

    def _abort(self, limit_s: float) -> None:
        self.reason = (
            f"its time limit of {limit_s:g} s passed in native code, where Airflow cannot "
            "interrupt it; the process was aborted"
        )
        self._log.say("error", self.reason)
        with suppress(OSError):  # A core file of it would be of no use to anybody.
            resource.prlimit(self._child.pid, resource.RLIMIT_CORE, (0, 0))
        self._child.kill(signal.SIGABRT)
        self._limit = self._kill_later()

    def _kill(self, limit_s: float) -> None:
        self.reason = (
            f"the callbacks took more than {limit_s:g} s and were killed "
            "(AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT)"
        )
        self._child.kill(signal.SIGKILL)

    def _end_overtime(self) -> None:
        self._log.say(
            "error", "took too long after it reported its end: sending SIGTERM"
        )
        self._child.kill(signal.SIGTERM)
        self._overtime = self._kill_later()

    def _kill_later(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._grace_s, self._child.kill, signal.SIGKILL)
