"""Upload of task logs by Airflow's remote logging, at the end of each process of a try.

What uploads is the user's choice of class (``AIRFLOW__LOGGING__REMOTE_*``, ``logging_config_class``), so it runs in
a child like everything else of theirs. It may ask for the connection it needs. What it says
when it fails is masked and printed; the try is as it is. Several processes write one log (a sensor's pokes, what a
task waits for, its continuation): its uploads are made one after another, so that the last one is the whole.

Source: Airflow 3.3: ``sdk/execution_time/supervisor.py`` (_upload_logs).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from weakref import WeakValueDictionary

from appliance.dagrun.attempt import ActivityTaskInput
from appliance.forkserver import child_call
from appliance.forkserver.control import ForkError, Zygote, ZygoteLostError
from appliance.taskrun.log_paths import FOLDER
from appliance.taskrun.secrets import ParseAnswers
from appliance.taskrun.startup import instance

_LOG = logging.getLogger(__name__)
_ENTRY = "appliance.taskrun.child:upload_log"
_MOST_S = 300.0
"""How long an upload may take; a worker that is told to stop waits for it."""
_AT_ONCE = 4


@dataclass(slots=True, weakref_slot=True)
class _File:
    """A log, as long as there is something to upload of it."""

    path: Path
    shown: int
    """Where in it the events begin that no handler has seen."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class RemoteLogs:
    """Uploads the logs of a worker's tries."""

    def __init__(
        self,
        data: Path,
        zygote: Callable[[], Awaitable[Zygote]],
        answers: Callable[[], ParseAnswers],
    ) -> None:
        """Upload what is below the folder ``data``, in children of ``zygote`` whose questions ``answers`` answer."""
        self._data = data
        self._zygote = zygote
        self._answers = answers
        self._files: WeakValueDictionary[Path, _File] = WeakValueDictionary()
        self._seats = asyncio.Semaphore(_AT_ONCE)

    def begin(self, task: ActivityTaskInput, log: PurePosixPath) -> "Upload":
        """Note where ``log``, relative to the data folder, ends as long as nothing is added to it."""
        path = self._data / log
        file = self._files.get(path)
        if file is None:
            file = _File(path, path.stat().st_size if path.exists() else 0)
            self._files[path] = file
        return Upload(self, task, file)

    async def upload(self, task: ActivityTaskInput, file: _File) -> None:
        """Upload a log unless nothing was added to it."""
        async with file.turn, self._seats:
            if not file.path.exists() or file.path.stat().st_size == file.shown:
                return
            answers = self._answers()
            try:
                why = await self._send(task, file, answers)
            except (ChildProcessError, ForkError, ZygoteLostError) as err:
                why = str(err)
        if why:
            text = "%s cannot be uploaded: %s"
            _LOG.warning(text, file.path, answers.hide(why).rstrip())

    async def _send(
        self, task: ActivityTaskInput, file: _File, answers: ParseAnswers
    ) -> str | None:
        """Upload it in a child; return what went wrong."""
        given = {
            "file": str(file.path.relative_to(self._data / FOLDER)),
            "start": file.shown,
            "ti": instance(task),
        }
        zygote = await self._zygote()
        told = await child_call.send(
            zygote, _ENTRY, given, limit_s=_MOST_S, answer_it=answers.answer
        )
        if told["error"] is not None:
            return str(told["error"])
        file.shown = told["end"]
        return None


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be uploaded of one process of a try."""

    logs: RemoteLogs
    task: ActivityTaskInput
    file: _File

    async def after(self, end: Awaitable[object]) -> None:
        """Wait until the process has written all it will, and upload the log."""
        await end
        await self.logs.upload(self.task, self.file)
