"""Process that reads one DAG file and becomes the zygote from which its tries are forked. Child side.

Airflow's own DagBag does the reading, with somebody to answer a Variable asked
for at the top of the file. What was found goes over the control channel as the process's
``ready`` message:

    hash                sha256 of the file as it was read
    dags                id → plan, refusals, description, schedule, timing, remark, owners,
                        tags, assets, groups, params
    errors              {file, line, error}
    reasons             why tries must read the file themselves, "the file ..."
    sources             the user's own files it imported
    imports             the other modules it imported, in order
    has_asked           whether it asked for a Variable or Connection
    is_late             whether Airflow interrupted it, as it took too long

Source: Airflow 3.3: ``dag_processing/processor.py``.
"""

import faulthandler
import hashlib
import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from airflow.serialization.serialized_objects import DagSerialization

from appliance.dagfile import error_messages, params, timetables
from appliance.dagfile.dag_location import DagLocation, output_to
from appliance.dagfile.fork_safety import ForkSafety
from appliance.dagfile.import_errors import explain, files_in, lines_of
from appliance.dagfile.models import FileError
from appliance.dagfile.plan_builder import project, task_groups
from appliance.dagfile.unsupported_features import refusals
from appliance.forkserver import datagrams, memory, zygote
from appliance.forkserver.airflow_internals import (
    dag_files,
    listeners,
    secrets,
    weights,
)

_TIMEOUT_KEY = "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"
_FRAMES_KEY = "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH"
_ALL_FRAMES = "1000"


def read(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """Read the file, report, and serve forks that find it read.

    Args:
        args: As ``DagLocation`` reads them, ``timeout_s``, and ``is_kept``: whether to stay and
            serve.
        fds: The control channel, the socket for questions, and where to write output.
    """
    channel = socket.socket(fileno=fds[0])
    questions = socket.socket(fileno=fds[1])
    place = DagLocation.of(args)
    place.put_on_path()
    dag_files.let_crashes_kill()
    itself = os.getpid()
    with output_to(fds[2]), _time_limit(args["timeout_s"], fds[2]):
        bag, report = _read(place, questions, args["timeout_s"])
        if os.getpid() != itself:
            os._exit(0)  # Forked by the file, and let run on.
    datagrams.send(channel, {"op": "ready", **report})
    if report["reasons"] or not args["is_kept"]:
        # With the processes it may have left, which nobody else would end.
        if os.getpgrp() == itself:
            os.killpg(itself, signal.SIGKILL)
        os.kill(itself, signal.SIGKILL)
    dag_files.inject(bag, place.root)
    memory.freeze()
    zygote.serve(channel)


def stand_in(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """Serve forks that read the file themselves, with its third-party imports done.

    Args:
        args: As ``DagLocation`` reads them, and the ``modules`` to import.
        fds: The control channel, and where to write output.
    """
    channel = socket.socket(fileno=fds[0])
    place = DagLocation.of(args)
    place.put_on_path()
    dag_files.let_crashes_kill()
    with output_to(fds[1]):
        for module in args["modules"]:
            with suppress(Exception):  # It came with another's import, or will not now.
                importlib.import_module(module)
    dag_files.read_from(place.root)
    memory.freeze()
    is_forkable = threading.active_count() == 1
    datagrams.send(channel, {"op": "ready", "is_forkable": is_forkable})
    zygote.serve(channel)


def _read(
    place: DagLocation, questions: socket.socket, timeout_s: float
) -> tuple[Any, dict[str, Any]]:
    known = set(sys.modules)
    began = time.monotonic()
    content = place.path.read_bytes()
    leftovers = ForkSafety(place.user_roots)
    with (
        dag_files.questions_to(questions),
        dag_files.lookups() as asked,
        dag_files.duplicate_dag_ids() as twins,
    ):
        bag, texts = _bag(place)
        errors = [_explain(text, file, place) for file, text in texts.items()]
        is_late = bool(errors) and time.monotonic() - began >= timeout_s
        for dag_id in sorted(twins):
            bag.dags.pop(dag_id, None)
            lines = lines_of(dag_id, content)
            errors.append(error_messages.twins(dag_id, place.file, lines))
        dags = dict(_dags(bag, errors, place))
    reasons = leftovers.found()
    if asked:
        reasons.append("asks for a Variable or Connection")
    new = [(name, sys.modules[name]) for name in list(sys.modules) if name not in known]
    return bag, {
        "hash": hashlib.sha256(content).hexdigest(),
        "dags": dags,
        "errors": [asdict(error) for error in errors],
        "reasons": reasons,
        "sources": [
            *(source for _, module in new if (source := _own(module, place))),
            *(one for text in texts.values() for one in _in_traceback(text, place)),
        ],
        "imports": [name for name, module in new if not _own(module, place)],
        "is_late": is_late,
        "has_asked": bool(asked),
    }


def _bag(place: DagLocation) -> tuple[Any, dict[str, str]]:
    """Let Airflow read the file; what escapes even Airflow is an error of the file, too: file → traceback."""
    try:
        bag = dag_files.read_file(place.path, place.root)
    except BaseException:  # noqa: BLE001 - SystemExit in an archive, and the like
        bag = dag_files.empty_bag(place.path, place.root)
        return bag, {place.file: traceback.format_exc()}
    return bag, {
        _relative(name, place): text for name, text in bag.import_errors.items()
    }


def _dags(
    bag: Any, errors: list[FileError], place: DagLocation
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a run needs to know of each DAG; one that cannot be serialized is an error."""
    for dag in bag.dags.values():
        try:
            serialized = DagSerialization.to_dict(dag)
            plan = project(serialized, weights.custom(dag, serialized))
            if hooks := listeners.hooks():
                plan["listeners"] = hooks
        except Exception:  # noqa: BLE001 - the user's objects decide what is raised
            errors.append(_explain(traceback.format_exc(), place.file, place))
            continue
        yield (
            dag.dag_id,
            {
                "plan": plan,
                "refusals": [asdict(r) for r in refusals(dag, serialized)],
                "description": dag.description,
                **_when(dag),
                "owners": sorted({task.owner for task in dag.tasks if task.owner}),
                "tags": sorted(dag.tags),
                "assets": dag_files.declared_assets(serialized),
                "groups": task_groups(serialized),
                "params": secrets.redacted(params.listed(dag.params)),
            },
        )


def _when(dag: Any) -> dict[str, Any]:
    """Return the schedule as the Airflow UI shows it, None when there is none, and what decides when it runs."""
    timetable = dag_files.core_timetable(dag)
    summary = str(timetable.summary)
    return {
        "schedule": None if summary == "None" else summary,
        "timing": timetables.facts_of(dag, timetable),
        "remark": timetables.remark_on(timetable),
    }


def _explain(text: str, file: str, place: DagLocation) -> FileError:
    roots = (*place.user_roots, place.root.parent)
    # First of all: in a part of a secret nobody would find it again.
    hidden = secrets.without_secrets(text)
    return explain(hidden, file=file, path=place.path, user_roots=roots)


def _relative(name: str, place: DagLocation) -> str:
    path = Path(name)
    return path.relative_to(place.root).as_posix() if path.is_absolute() else name


def _own(module: ModuleType, place: DagLocation) -> str | None:
    """Return the file of a module if it is the user's own, else None."""
    file = getattr(module, "__file__", None)
    return file if file and _is_below(file, (*place.user_roots, place.path)) else None


def _in_traceback(text: str, place: DagLocation) -> list[str]:
    """Return the user's own files an error went through: modules that were not imported for it."""
    return [path for path in files_in(text) if _is_below(path, place.user_roots)]


def _is_below(path: str, roots: Sequence[Path]) -> bool:
    return any(Path(path).is_relative_to(root) for root in roots)


@contextmanager
def _time_limit(seconds: float, fd: int) -> Iterator[None]:
    """Have Airflow interrupt the file after this long, and the process end if that fails.

    Either way the traceback says where it was. All its frames are kept meanwhile: Airflow
    keeps two, which may both be somebody else's.
    """
    before = {key: os.environ.get(key) for key in (_TIMEOUT_KEY, _FRAMES_KEY)}
    os.environ[_TIMEOUT_KEY] = str(seconds)
    os.environ[_FRAMES_KEY] = _ALL_FRAMES
    last_words = os.dup(fd)
    faulthandler.enable(last_words)
    faulthandler.dump_traceback_later(seconds + 1, exit=True, file=last_words)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()
        os.close(last_words)
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
