"""Tasks that end in every way a task can end; each is a row in ``test_endings``."""

import ctypes
import datetime as dt
import itertools
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from airflow.sdk import DAG, get_current_context, task

MB = 1_000_000
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def tell(*pids):
    """Let the test know these processes."""
    file = Path(get_current_context()["dag_run"].conf["pids"])
    file.with_suffix(".new").write_text(" ".join(map(str, pids)))
    file.with_suffix(".new").rename(file)


def returns():
    return 1


def raises():
    raise ValueError("no rows")


def calls_sys_exit():
    sys.exit(3)


def calls_sys_exit_0():
    sys.exit(0)


def exits_with_words():
    sys.exit("the input is empty")


def is_interrupted():
    raise KeyboardInterrupt


def leaves_with_0():
    os._exit(0)


def leaves_with_5():
    os._exit(5)


def segfaults():
    ctypes.string_at(0)


def aborts():
    os.abort()


def is_killed_for_memory():
    os.kill(os.getpid(), signal.SIGKILL)


def is_refused_memory():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(1 << 31)


def recurses_for_ever():
    is_deeper = recurses_for_ever
    return is_deeper()


def prints_one_long_line():
    for _ in range(100):
        sys.stdout.write("y" * MB)
    sys.stdout.write("\nthe end\n")


def closes_stdout():
    sys.stdout.close()


def closes_descriptors_1_and_2():
    os.close(1)
    os.close(2)


def closes_all_descriptors():
    os.closerange(0, 1024)


def closes_what_it_does_not_know():
    os.closerange(3, 1024)


def prints_no_text():
    sys.stdout.buffer.write(b"caf\xe9 \xff\xfe\n")
    os.write(2, b"\xc3\x28\n")


def prints_half_a_surrogate():
    print("half \udcff of it")
    logging.getLogger("app").warning("half %s of it", "\udcff")


def fails_with_3_mb():
    raise ValueError("m" * 3 * MB)


def fails_with_90_mb():
    raise ValueError("m" * 90 * MB)


def fails_as_group():
    raise ExceptionGroup("all of it", [ValueError("one"), KeyError("two")])


def cannot_be_shown():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    raise Odd


def returns_200_mb():
    return "r" * 200 * MB


def takes_too_long():
    time.sleep(60)


def takes_too_long_in_c():
    sum(itertools.repeat(0))


def leaves_a_daemon_with_its_pipes():
    code = (
        "import os, sys, time; os.setsid(); print('I am here', flush=True);"
        "os.close(int(sys.argv[1])); time.sleep(60)"
    )
    ours, theirs = os.pipe()
    command = [sys.executable, "-c", code, str(theirs)]
    process = subprocess.Popen(command, pass_fds=[theirs])
    os.close(theirs)
    os.read(ours, 1)
    tell(process.pid)


def leaves_a_daemon_forked_twice():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            tell(os.getpid())
            time.sleep(60)
        os._exit(0)
    os.wait()


def leaves_a_fork_of_itself():
    pid = os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    tell(pid)


def changes_its_group():
    os.setpgid(0, os.getpgid(os.getppid()))


def ignores_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(os.getpid())
    time.sleep(60)


def has_a_child_that_ignores_sigterm():
    code = f"{STUBBORN} print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tell(os.getpid(), process.pid)
    time.sleep(60)


def has_a_child_in_another_session():
    code = f"{STUBBORN} print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    process.stdout.readline()
    tell(os.getpid(), process.pid)
    time.sleep(60)


def waits_in_another_group():
    os.setpgid(0, os.getpgid(os.getppid()))
    tell(os.getpid())
    time.sleep(60)


WAYS = [
    returns,
    raises,
    calls_sys_exit,
    calls_sys_exit_0,
    exits_with_words,
    is_interrupted,
    leaves_with_0,
    leaves_with_5,
    segfaults,
    aborts,
    is_killed_for_memory,
    is_refused_memory,
    recurses_for_ever,
    prints_one_long_line,
    closes_stdout,
    closes_descriptors_1_and_2,
    closes_all_descriptors,
    closes_what_it_does_not_know,
    prints_no_text,
    prints_half_a_surrogate,
    fails_with_3_mb,
    fails_with_90_mb,
    fails_as_group,
    cannot_be_shown,
    returns_200_mb,
    leaves_a_daemon_with_its_pipes,
    leaves_a_daemon_forked_twice,
    leaves_a_fork_of_itself,
    changes_its_group,
    ignores_sigterm,
    has_a_child_that_ignores_sigterm,
    has_a_child_in_another_session,
    waits_in_another_group,
]

with DAG("endings", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    for way in WAYS:
        task(way)()
    limited = dt.timedelta(seconds=1)
    task(takes_too_long, execution_timeout=limited)()
    task(takes_too_long_in_c, execution_timeout=limited)()
