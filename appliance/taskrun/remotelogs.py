"""Logs of tries kept elsewhere, too: by Airflow's own remote logging, at the end of each process of a try.

What uploads is the user's choice of class (``AIRFLOW__LOGGING__REMOTE_*``, ``logging_config_class``), so it runs in
a child like everything else of theirs. It may ask for the connection it needs. What it says
when it fails is masked and printed; the try is as it is.

Source: Airflow 3.3: ``sdk/execution_time/supervisor.py`` (_upload_logs).
"""

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from appliance.dagrun.tries import ActivityTaskInput
from appliance.taskrun.logs import FOLDER
from appliance.taskrun.secrets import ParseAnswers
from appliance.taskrun.startup import instance
from appliance.warm import frames
from appliance.warm.control import ForkError, Zygote, ZygoteLostError

_LOG = logging.getLogger(__name__)
_ENTRY = "appliance.taskrun.child:upload_log"
_MOST_S = 300.0
"""How long an upload may take; a worker that is told to stop waits for it."""


@dataclass(frozen=True, slots=True)
class RemoteLogs:
    """Uploads the logs of a worker's tries."""

    data: Path
    zygote: Callable[[], Awaitable[Zygote]]
    answers: Callable[[], ParseAnswers]

    def begin(self, task: ActivityTaskInput, log: PurePosixPath) -> "Upload":
        """Note where ``log``, relative to the data folder, ends as long as nothing is added to it."""
        path = self.data / log
        start = path.stat().st_size if path.exists() else 0
        return Upload(self, task, path, start)


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be uploaded of one process of a try: the file, and from where on it is new."""

    logs: RemoteLogs
    task: ActivityTaskInput
    path: Path
    start: int

    async def after(self, end: Awaitable[None]) -> None:
        """Wait until the log is complete, and upload it."""
        await end
        if not self.path.exists():
            return
        answers = self.logs.answers()
        try:
            async with asyncio.timeout(_MOST_S):
                why = await self._run(answers)
        except TimeoutError:
            why = f"it took more than {_MOST_S:g} s"
        except (ForkError, ZygoteLostError) as err:
            why = str(err)
        if why:
            _LOG.warning(
                "%s cannot be uploaded: %s", self.path, answers.hide(why).rstrip()
            )

    async def _run(self, answers: ParseAnswers) -> str | None:
        """Upload it in a child; return what went wrong."""
        given = {
            "file": str(self.path.relative_to(self.logs.data / FOLDER)),
            "start": self.start,
            "ti": instance(self.task),
        }
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
        with ours, theirs, os.fdopen(os.memfd_create("upload"), "r+b") as paper:
            paper.write(json.dumps(given).encode())
            paper.seek(0)
            zygote = await self.logs.zygote()
            fds = [paper.fileno(), theirs.fileno()]
            child = await zygote.fork(_ENTRY, {}, fds)
            theirs.close()
            serving = asyncio.create_task(frames.serve(ours, answers.answer))
            try:
                ended = await child.exited()
            finally:
                child.kill(signal.SIGKILL)
                serving.cancel()
                with suppress(asyncio.CancelledError):
                    await serving
            if ended.code != 0:
                return f"what uploads it ended with {ended.code}"
            paper.seek(0)
            answer: Any = json.load(paper)
            return None if answer is None else str(answer)
