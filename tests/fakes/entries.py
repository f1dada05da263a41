"""What children of the zygote tests do."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from appliance.forkserver import child_call, datagrams, zygote
from appliance.forkserver.control import shield_from_children


def write(args: dict[str, Any], fds: list[int]) -> None:
    """Write the length of ``args["text"]`` to the first descriptor."""
    os.write(fds[0], str(len(args["text"])).encode())


def dumpable(_args: dict[str, Any], _fds: list[int]) -> None:
    """Exit with 0 if other processes may not read this one any more."""
    shield_from_children()
    sys.exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))


def leave(args: dict[str, Any], _fds: list[int]) -> NoReturn:
    """Exit with ``args["code"]``."""
    os._exit(args["code"])


def crash(_args: dict[str, Any], _fds: list[int]) -> None:
    """Raise."""
    raise ValueError("on purpose")


def sleep(args: dict[str, Any], _fds: list[int]) -> None:
    """Start a process in the same group, write its pid to ``args["file"]``, wait with it."""
    process = subprocess.Popen(["sleep", "60"])
    file = Path(args["file"])
    file.with_suffix(".new").write_text(str(process.pid))
    file.with_suffix(".new").rename(file)
    process.wait()


def stubborn(args: dict[str, Any], fds: list[int]) -> None:
    """Do the same without minding SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep(args, fds)
    time.sleep(60)


def nest(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """Become a zygote after a report of ``args["size"]`` bytes."""
    channel = socket.socket(fileno=fds[0])
    datagrams.send(channel, {"op": "ready", "bulk": "x" * args["size"]})
    zygote.serve(channel, grace_s=0.2)


def double(_args: dict[str, Any], fds: list[int]) -> None:
    """Answer a call with twice what was given."""
    child_call.answer(fds[0], lambda given: 2 * given)


def dawdle(_args: dict[str, Any], fds: list[int]) -> None:
    """Never come back from a call, whatever signal says so; write the pid to the file that was given."""

    def work(file: str) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        new = Path(file).with_suffix(".new")
        new.write_text(str(os.getpid()))
        new.rename(file)
        while True:
            time.sleep(60)

    child_call.answer(fds[0], work)


def exit_without_answer(_args: dict[str, Any], _fds: list[int]) -> NoReturn:
    """End without an answer."""
    sys.exit(3)


def leave_behind(args: dict[str, Any], _fds: list[int]) -> None:
    """Start a process as ``args["how"]`` says and write its pid to ``args["file"]``; sleep if it ``stays``, else end."""
    file = args["file"]
    write = f"echo $$ > {file}.new; mv {file}.new {file}"
    go_on = "exec sleep 60"
    if args["how"] == "stubbornly":
        go_on = "trap '' TERM; while true; do sleep 1; done"
    if args["how"] == "for a moment":
        go_on = f"sleep 0.3; touch {file}.last"
    script = f"{write}; {go_on}"
    if args["how"] == "outside its group":
        subprocess.Popen(["sh", "-c", script], start_new_session=True)
    elif args["how"] == "by a daemon":
        subprocess.run(["setsid", "sh", "-c", 'sh -c "$0" &', script], check=True)
    else:
        subprocess.Popen(["sh", "-c", script])
    while args["stays"] or not Path(file).exists():
        time.sleep(0.01)
