"""Whatever a file does to the process that reads it: told with file and line, and no other file is hurt."""

import asyncio
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config.model import DagSettings
from appliance.errors import DagError
from appliance.forkserver.control import Zygote
from tests.dagfile.conftest import Box
from tests.forkserver.test_zygote import is_running, until

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
]

GOOD = "from airflow.sdk import DAG\ndag = DAG('good')\n"
MOST_MB = 64
MOST_TEXT = 6000

ENDS: dict[str, tuple[str, str]] = {
    # what → the statement in line 2, what is said
    "sys.exit": ("import sys; sys.exit(3)", "one.py:2: SystemExit: 3"),
    "sys.exit with words": ("raise SystemExit('no')", "one.py:2: SystemExit: no"),
    "os._exit": (
        "import os; os._exit(3)",
        "one.py: it ended the process reading it, with exit code 3",
    ),
    "os._exit with 0": (
        "import os; os._exit(0)",
        "one.py: it ended the process reading it, with exit code 0",
    ),
    "segfault": (
        "import ctypes; ctypes.string_at(0)",
        "one.py:2: the process reading it was killed by SIGSEGV",
    ),
    "abort": (
        "import os; os.abort()",
        "one.py:2: the process reading it was killed by SIGABRT",
    ),
    "killed": (
        "import os, signal; os.kill(os.getpid(), 9)",
        "one.py: the process reading it was killed, most likely for want of memory",
    ),
    "no memory": (
        "import resource as r; r.setrlimit(r.RLIMIT_AS, (1<<30, 1<<30)); bytearray(1<<31)",
        "one.py:2: MemoryError",
    ),
    "Ctrl-C": ("raise KeyboardInterrupt", "one.py:2: KeyboardInterrupt"),
    "syntax": ("def f(:", "one.py:2: SyntaxError: invalid syntax\n    def f(:"),
    "encoding": ("name = 'caf\udce9'", "one.py:2: SyntaxError: (unicode error)"),
    "missing module": (
        "import no_such_module",
        "one.py:2: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "recursion": (
        "f = lambda: f(); f()",
        "one.py:2: RecursionError: maximum recursion depth exceeded",
    ),
    "long message": (
        "raise ValueError('m' * 3_000_000)",
        "mmm... (2996012 more characters)",
    ),
    "much output": (
        "print('x\\n' * 50_000_000); raise ValueError('after all')",
        "one.py:2: ValueError: after all",
    ),
    "closed descriptors": (
        "import os; os.closerange(3, 1024)",
        "one.py: it ended the process reading it, with exit code 123",
    ),
}


@pytest.mark.parametrize("what", ENDS)
async def test_a_file_hurts_only_itself(box: Box, what: str) -> None:
    statement, says = ENDS[what]
    path = box.root / "one.py"
    text = f"import airflow\n{statement}  # dag\n"
    path.write_bytes(text.encode(errors="surrogateescape"))
    box.write("good.py", GOOD)
    before_mb = reset_peak_mb()

    listing = await box.folder.listing()

    assert [dag.dag_id for dag in listing.dags] == ["good"]
    (error,) = listing.errors
    assert says in str(error)
    assert len(str(error)) < MOST_TEXT
    assert peak_mb() - before_mb < MOST_MB
    with pytest.raises(DagError, match=r"^one\.py"):
        await box.folder.check(dag_id="x", dag_file="one.py")
    assert (await box.folder.check(dag_id="good")).file == "good.py"


async def test_a_file_whose_reader_was_killed_is_read_again(box: Box) -> None:
    """Not every kill is the file's own doing."""
    box.write(
        "one.py",
        """
        import os, pathlib
        from airflow.sdk import DAG
        mark = pathlib.Path(__file__).with_suffix(".mark")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)
        dag = DAG("one")
        """,
    )

    assert (await box.folder.check(dag_id="one")).file == "one.py"


LOOPS: dict[str, tuple[str, str]] = {
    "Python": (
        "while True: pass",
        "one.py:5: airflow.sdk.exceptions.AirflowTaskTimeout: DagBag import timeout",
    ),
    "catches all": (
        """
        while True:
            try:
                time.sleep(9)
            except BaseException: 0
        """,
        "reading it took more than 1 s (dags.import_timeout)",
    ),
    "native code": (
        "import itertools; sum(itertools.repeat(0))",
        "one.py:5: reading it took more than 1 s (dags.import_timeout)",
    ),
    "prints": (
        "while True: print('x' * 1000)",
        "one.py:5: airflow.sdk.exceptions.AirflowTaskTimeout",
    ),
}


@pytest.mark.parametrize("what", LOOPS)
async def test_a_file_that_never_ends_is_stopped(
    tmp_path: Path, zygote: Zygote, settings: DagSettings, what: str
) -> None:
    box = Box(tmp_path, zygote, replace(settings, import_timeout_s=1.0))
    loop, says = LOOPS[what]
    text = textwrap.dedent(loop).strip()
    box.root.joinpath("one.py").write_text(
        f"import airflow  # dag\n\nimport time\n\n{text}\n"
    )
    box.write("good.py", GOOD)
    before_mb = reset_peak_mb()

    listing = await box.folder.listing()

    assert [dag.dag_id for dag in listing.dags] == ["good"]
    (error,) = listing.errors
    assert says in str(error)
    assert error.line is not None
    assert len(str(error)) < MOST_TEXT
    assert peak_mb() - before_mb < MOST_MB


async def test_a_file_that_takes_ten_seconds_keeps_nobody_waiting(box: Box) -> None:
    box.write(
        "slow.py",
        """
        import time
        from airflow.sdk import DAG
        time.sleep(10)
        dag = DAG("slow")
        """,
    )
    box.write("good.py", GOOD)

    reading = asyncio.create_task(box.folder.open("slow.py"))
    assert (await box.folder.check(dag_id="good")).file == "good.py"
    assert not reading.done()
    opened = await reading

    assert list(opened.dags) == ["slow"]
    assert await box.folder.open("slow.py") is opened


async def test_a_file_that_forks_is_read_once(box: Box) -> None:
    """The other process comes to the end of the file, too, and must not report."""
    box.write(
        "one.py",
        """
        import os, time
        from airflow.sdk import DAG
        dag = DAG("one")
        if os.fork():
            time.sleep(0.5)
        """,
    )

    opened = await box.folder.open("one.py")

    assert opened.parse_each_try == ("starts processes",)
    child = await opened.zygote.fork("tests.fakes.entries:leave", {"code": 7}, [])
    assert (await child.exited()).code == 7


async def test_a_daemon_that_a_file_starts_ends_with_what_read_it(box: Box) -> None:
    """Airflow's DAG processor leaves one more behind each time it reads the file."""
    pids = box.project / "pids"
    box.write(
        "one.py",
        f"""
        import os, time
        from airflow.sdk import DAG
        dag = DAG("one")
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                with open({str(pids)!r}, "a") as file:
                    file.write(f"{{os.getpid()}}\\n")
                time.sleep(3600)
            os._exit(0)
        os.wait()
        """,
    )

    for word in ("one", "two", "three"):
        box.write("words.txt", word)
        await box.folder.check(dag_id="one", dag_file="one.py")
    opened = await box.folder.open("one.py")
    assert opened.parse_each_try == ("starts processes",)

    await until(lambda: len(pids.read_text().split()) >= 3)
    started = [int(pid) for pid in pids.read_text().split()]
    await until(lambda: not any(is_running(pid) for pid in started))


async def test_a_file_that_leaves_its_process_group_kills_nobody_else(box: Box) -> None:
    box.write(
        "one.py",
        """
        import os, subprocess
        from airflow.sdk import DAG
        dag = DAG("one")
        os.setpgid(0, os.getpgid(os.getppid()))
        kept = subprocess.Popen(["sleep", "60"])
        """,
    )

    assert (await box.folder.check(dag_id="one")).file == "one.py"


def reset_peak_mb() -> int:
    """Let the highest of the memory be what it is now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


def peak_mb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(ln.split()[1]) for ln in lines if ln.startswith("VmHWM")) // 1024
