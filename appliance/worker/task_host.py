"""Runs user code: the base zygote, the DAG folder read through it, the tries forked from it.

When the zygote dies, running tries have failed with it; another one is started and new tries come from there.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from appliance.config.airflow_environment import (
    airflow_environment,
    airflow_number,
    may_have_remote_logs,
)
from appliance.config.model import Config
from appliance.dagfile.folder import DagFolder
from appliance.dagfile.models import CheckedDag, DagFacts, FileError, Listing, OpenFile
from appliance.dagfile.parse_host import PRELOAD
from appliance.dagrun.attempt import ActivityTaskInput, TaskExecutionResult, XComRow
from appliance.errors import ConfigError, DagError
from appliance.forkserver.control import (
    ForkError,
    Zygote,
    ZygoteLostError,
    ZygoteRefusedError,
    end_strangers,
)
from appliance.forkserver.process_tree import adopt_orphans
from appliance.runs import outcomes, resumption
from appliance.runs.running_attempts import Runner
from appliance.runs.worker_client import WorkerRuns
from appliance.taskrun import xcom_objects
from appliance.taskrun.attempt import CALLBACKS_S, OVERTIME_S, TryHost
from appliance.taskrun.kv_store import KvStoresProtocol
from appliance.taskrun.logs import TryLog
from appliance.taskrun.masking import Masker
from appliance.taskrun.prefork import PreforkedChildren
from appliance.taskrun.remote_logs import RemoteLogs
from appliance.taskrun.run_files import RunFiles
from appliance.taskrun.secrets import ParseAnswers
from appliance.taskrun.xcoms import MAX_MAP_LENGTH
from appliance.triggers.triggerer import Triggerer

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_CHILD = "appliance.taskrun.child"
_NO_AIRFLOW = "Airflow cannot be imported: %s; trying again"
_RESTART_PAUSE_S = 1.0
_FORK_ATTEMPTS = 3
_LAST_WORDS_S = 1.5
"""For the zygote to end what tries have left behind: it is killed when this process ends."""


class TaskHost:
    """Use as an async context manager: the zygote starts on entering and ends with it."""

    def __init__(self, config: Config, kv_stores: KvStoresProtocol) -> None:
        """Nothing is started yet; ``kv_stores`` has what tasks keep for others."""
        self._config = config
        self._kv_stores = kv_stores
        self._preforked = PreforkedChildren()
        self._remote_logs: RemoteLogs | None = None
        self._zygote: Zygote | None = None
        self._folder: DagFolder | None = None
        self._ready = asyncio.Event()
        self._refused: str | None = None
        """Why there cannot be a zygote."""
        self._plugin_errors: tuple[FileError, ...] = ()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to start; ``folder`` waits for the end of it."""
        if may_have_remote_logs(self._config):
            self._remote_logs = RemoteLogs(
                self._config.data, self._live_zygote, self._answers
            )
        adopt_orphans()
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End every child, then the zygote."""
        if self._keeper is not None:
            self._keeper.cancel()
        await self._preforked.close()
        if self._folder is not None:
            self._folder.close()
        if self._zygote is not None:
            self._zygote.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._zygote.ended, _LAST_WORDS_S)

    def reconfigure(self, config: Config) -> None:
        """Answer tries and parses that begin from now on by this configuration."""
        self._config = config

    async def folder(self) -> DagFolder:
        """Return the DAG folder, as soon as there is a zygote to read it with."""
        await self._live_zygote()
        assert self._folder is not None  # noqa: S101  # set before ready
        return self._folder

    async def check(self, **question: Any) -> CheckedDag:
        """Check that a DAG can be run, and make ready to run its first tasks.

        Raises:
            DagError: it cannot.
        """

        async def check(folder: DagFolder) -> CheckedDag:
            found = await folder.check(**question)
            with suppress(DagError):
                opened = await folder.open(found.file)
                self._preforked.refill(opened.zygote)
            return found

        return await self._steadily(check)

    async def facts(self, dag_id: str) -> DagFacts:
        """As ``DagFolder.facts``."""
        return await self._steadily(lambda folder: folder.facts(dag_id))

    async def listing(self) -> Listing:
        """Return every DAG of the folder, and every file and plugin that cannot be read."""
        try:
            found = await self._steadily(lambda folder: folder.listing())
        except DagError as err:  # The folder itself: who only lists it goes on.
            folder = str(self._config.dags.folder.absolute())
            found = Listing((), (FileError(folder, None, str(err)),))
        return replace(found, errors=(*found.errors, *self._plugin_errors))

    def plugin_warnings(self) -> list[str]:
        """Say which plugins cannot be imported, and why."""
        return [str(error) for error in self._plugin_errors]

    async def weights(self) -> dict[str, int]:
        """Return how many slots tasks take of each pool, as far as files were read."""
        return (await self.folder()).weights()

    async def ask_timetables(
        self, questions: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Have Airflow's timetables say when DAGs run.

        Raises:
            DagError: there is no answer to any of the questions.
        """
        return await self._steadily(lambda folder: folder.ask_timetables(questions))

    async def _steadily(self, work: Callable[[DagFolder], Awaitable[_T]]) -> _T:
        """Do something with the folder, again with the next zygote when one dies meanwhile.

        Raises:
            DagError: none lives long enough.
        """
        for _ in range(_FORK_ATTEMPTS):
            try:
                return await work(await self.folder())
            except ZygoteLostError:
                continue  # Another one is started.
            except ForkError:
                await asyncio.sleep(_RESTART_PAUSE_S)
        raise DagError(
            "no process to read DAG files in could be kept alive. What the worker "
            "prints says more; try again."
        )

    async def resolve(self, rows: Sequence[XComRow]) -> list[XComRow]:
        """Return XComs with every reference replaced by what it stands for."""
        return await xcom_objects.resolve(await self._live_zygote(), rows)

    async def purge(self, traces: Sequence[RunFiles]) -> None:
        """Delete XComs of these runs, wherever the backend has put them."""
        runs = [(trace.dag_id, trace.run_id) for trace in traces]
        await xcom_objects.purge(await self._live_zygote(), runs)

    def runner(self, runs: WorkerRuns) -> Runner:
        """Return what runs a try, asking its run through ``runs``."""
        config = self._config
        host = TryHost(
            data=config.data,
            secrets=config.secrets,
            airflow_env=airflow_environment(config),
            grace_s=config.worker.grace_s,
            preforked=self._preforked,
            kv_stores=self._kv_stores,
            overtime_s=airflow_number(
                config, "CORE__TASK_SUCCESS_OVERTIME", OVERTIME_S
            ),
            callbacks_s=airflow_number(
                config, "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT", CALLBACKS_S
            ),
            max_map_length=int(
                airflow_number(config, "CORE__MAX_MAP_LENGTH", MAX_MAP_LENGTH)
            ),
            remote_logs=self._remote_logs,
        )

        async def run_try(task: ActivityTaskInput) -> TaskExecutionResult:
            run = runs.of(task.run)
            if task.run.conf is None:
                task = replace(task, run=replace(task.run, conf=await run.conf()))
            for _ in range(_FORK_ATTEMPTS):
                try:
                    opened = await (await self.folder()).open(task.run.file)
                    if missing := _missing(task, opened):
                        return self._refuse(task, missing)
                    in_force = replace(host, secrets=self._config.secrets)
                    result = await in_force.run_try(
                        resumption.opened(task, run),
                        zygote=opened.zygote,
                        run=run,
                        assets=opened.assets,
                    )
                    return resumption.sealed(result, task, run)
                except ZygoteLostError:
                    continue  # The try has not begun; a new zygote takes it.
                except ForkError:
                    _LOG.warning("%s: no process could be forked", task.task_id)
                    await asyncio.sleep(_RESTART_PAUSE_S)
                except (DagError, ConfigError) as err:
                    return self._refuse(task, str(err))
            raise ZygoteLostError(
                f"{task.run.file}: what it is forked from dies at once"
            )

        return run_try

    def _answers(self) -> ParseAnswers:
        """Answer something outside a try about connections and Variables as they are now."""
        airflow_env = airflow_environment(self._config)
        return ParseAnswers(
            self._config.secrets, self._kv_stores.variables, airflow_env
        )

    async def open_file(self, file: str) -> OpenFile:
        """Open a DAG file; as ``DagFolder.open``."""
        return await self._steadily(lambda folder: folder.open(file))

    def triggerer(self, runs: WorkerRuns) -> Triggerer:
        """Return what waits for triggers, asking their runs through ``runs``."""
        config = self._config
        return Triggerer(
            zygote=self._live_zygote,
            place={
                "root": str(config.dags.folder.absolute()),
                "plugins": str(config.dags.plugins_folder.absolute()),
            },
            data=config.data,
            secrets=lambda: self._config.secrets,
            airflow_env=airflow_environment(config),
            kv_stores=self._kv_stores,
            run_of=runs.of,
            remote_logs=self._remote_logs,
        )

    def _refuse(self, task: ActivityTaskInput, why: str) -> TaskExecutionResult:
        """Fail a try that cannot begin, and leave a log that says so."""
        config = self._config
        now = datetime.now(UTC)  # noqa: TID251  # the edge that takes the time
        masker = Masker(airflow_environment(config))
        log = TryLog(task, data=config.data, masker=masker, now=lambda: now)
        remote = self._remote_logs
        upload = remote.begin(task, log.file) if remote else None
        log.say("error", why)
        log.close()
        if upload is not None:
            self._preforked.keep(upload.after(asyncio.sleep(0)))
        failed = outcomes.failed(task, now.isoformat(), why)
        return replace(failed, log=str(log.file))

    async def _live_zygote(self) -> Zygote:
        while self._zygote is None or self._zygote.closed.done():
            self._ready.clear()
            await self._ready.wait()
            if self._refused is not None:
                raise ConfigError(self._refused)
        return self._zygote

    async def _keep(self) -> None:
        """Start a zygote, and another one whenever it dies."""
        said = ""
        while True:
            try:
                zygote = await self._start()
            except Exception as err:  # noqa: BLE001 - nothing could be run any more
                if self._zygote is None and isinstance(err, ZygoteRefusedError):
                    self._refused = str(err)
                    self._ready.set()
                    return
                if str(err) != said:
                    said = str(err)
                    _LOG.error(_NO_AIRFLOW, said)
                await asyncio.sleep(_RESTART_PAUSE_S)
                continue
            said = ""
            self._ready.set()
            await asyncio.shield(zygote.closed)
            _LOG.error("the process tasks are forked from died; starting another")
            self._preforked.keep(end_strangers())

    async def _start(self) -> Zygote:
        airflow_env = airflow_environment(self._config)
        environment = {**os.environ, **airflow_env}
        environment.pop("APPLIANCE_CONFIG", None)  # with its secrets: not for tasks
        zygote = await Zygote.start(env=environment, preload=(*PRELOAD, _CHILD))
        told = (await zygote.ready())["plugin_errors"]
        self._plugin_errors = tuple(
            FileError(file, None, f"the plugin cannot be imported: {why}")
            for file, why in sorted(told.items())
        )
        if self._folder is None:
            self._folder = DagFolder(
                root=self._config.dags.folder,
                zygote=zygote,
                settings=self._config.dags,
                answers=self._answers,
                clock=time.monotonic,
            )
        else:
            self._folder.replace_zygote(zygote)
        self._zygote = zygote
        return zygote


def _missing(task: ActivityTaskInput, opened: OpenFile) -> str | None:
    """Say that the file no longer has what the run was started with."""
    facts = opened.dags.get(task.run.dag_id)
    if facts is None and opened.errors:
        return "\n".join(map(str, opened.errors))
    if facts is None:
        what = f'the DAG "{task.run.dag_id}"'
    elif task.callback is None and task.task_id not in facts.plan["tasks"]:
        what = f'the task "{task.task_id}"'
    else:
        return None
    return f"{opened.file} was changed while the run went on, and no longer has {what}."
