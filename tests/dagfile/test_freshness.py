"""When a try sees a fresh reading of its file: always when sharing one would show."""

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.model import Connection, DagSettings, Secrets
from appliance.dagfile.folder import DagFolder
from appliance.dagrun.states import TaskState
from appliance.forkserver.control import Zygote
from appliance.taskrun.attempt import TryHost
from appliance.taskrun.prefork import PreforkedChildren
from tests.dagfile.conftest import Box
from tests.fakes.kv_stores import FakeVaults
from tests.fakes.runs import RUN, FakeRun, a_try

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
]


class Project(Box):
    """A DAG folder whose clock stands still, and tries of its task."""

    def __init__(self, project: Path, zygote: Zygote, settings: DagSettings) -> None:
        super().__init__(project, zygote, settings)
        self.now = 0.0
        self.folder = DagFolder(
            root=settings.folder,
            zygote=zygote,
            settings=settings,
            answers=self._answers,
            clock=lambda: self.now,
        )

    def write_dag(self, top: str, value: str) -> None:
        """Write a DAG whose task returns an expression."""
        self.root.joinpath("one.py").write_text(
            "from airflow.sdk import DAG, task\n"
            f"{textwrap.dedent(top).strip()}\n"
            "with DAG('one'):\n"
            "    @task\n"
            "    def tell():\n"
            f"        return {value}\n"
            "    tell()\n"
        )

    async def refreshed(self) -> None:
        """Wait for what is read after a list."""
        if self.folder._refreshing is not None:
            await self.folder._refreshing

    async def tell(self) -> Any:
        """Run a try and return what its task does."""
        opened = await self.folder.open("one.py")
        host = TryHost(
            data=self.project / "data",
            secrets=Secrets(self.connections, self.variables),
            airflow_env={},
            grace_s=1.0,
            preforked=PreforkedChildren(each=0),
            kv_stores=FakeVaults(),
            echo=lambda _text: None,
        )
        task = a_try(task_id="tell", run=replace(RUN, dag_id="one", file="one.py"))
        result = await host.run_try(task, zygote=opened.zygote, run=FakeRun())
        assert result.state == TaskState.SUCCESS, result.error
        return next(row.value for row in result.xcoms if row.key == "return_value")


@pytest.fixture
def project(tmp_path: Path, zygote: Zygote, settings: DagSettings) -> Iterator[Project]:
    made = Project(tmp_path, zygote, settings)
    yield made
    made.folder.close()


READ_YAML = """
    import pathlib, yaml
    file = pathlib.Path(__file__).parent / "words.yaml"
    WORD = yaml.safe_load(file.read_text())["word"]
"""
CHANGES: dict[str, tuple[str, str, str]] = {
    # what → the file that changes, how it says a word, how the DAG file reads it
    "a helper module": ("dags/names.py", "WORD = '{}'", "from names import WORD"),
    "a helper of a helper": (
        "dags/lib/deep.py",
        "WORD = '{}'",
        "from lib.shallow import WORD",
    ),
    "YAML beside the DAG": ("dags/words.yaml", "word: {}", READ_YAML),
    "a plugin": ("plugins/mine.py", "WORD = '{}'", "from mine import WORD"),
    "the project's include folder": (
        "include/shared.py",
        "WORD = '{}'",
        "from include.shared import WORD",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_try_sees_a_change_of(project: Project, what: str) -> None:
    file, text, top = CHANGES[what]
    path = project.project / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format("before"))
    project.write("lib/__init__.py", "")
    project.write("lib/shallow.py", "from lib.deep import WORD")
    project.write_dag(top, "WORD")
    assert await project.tell() == "before"

    path.write_text(text.format("after"))
    project.now += 1.0

    assert await project.tell() == "after"


async def test_a_try_sees_the_file_itself_as_it_is_now(project: Project) -> None:
    project.write_dag("", "'before'")
    assert await project.tell() == "before"

    project.write_dag("", "'after'")
    project.now += 1.0

    assert await project.tell() == "after"


async def test_what_nobody_can_watch_is_read_again_after_max_age(
    project: Project, settings: DagSettings
) -> None:
    path = project.project / "elsewhere"
    path.write_text("before")
    top = f"import pathlib; WORD = pathlib.Path({str(path)!r}).read_text()"
    project.write_dag(top, "WORD")
    assert await project.tell() == "before"

    path.write_text("after")
    project.now += settings.max_age_s - 1
    assert await project.tell() == "before"
    project.now += 1.0

    assert await project.tell() == "after"


COUNTED = """
import pathlib
from airflow.sdk import DAG, Variable
with pathlib.Path({reads!r}).open("a") as file:
    file.write("x")
"""
COUNTS: dict[str, tuple[str, float]] = {
    # what a file ends with → after how long it is read again for a list, in max_age
    "a DAG": ("dag = DAG('one')", 1),
    "a broken line": ("1 / 0", 2),
    "a Variable that is not there": ("Variable.get('nothing')", 1),
}


@pytest.mark.parametrize("what", COUNTS)
async def test_a_list_says_what_is_known_and_is_made_anew_afterwards(
    project: Project, settings: DagSettings, what: str
) -> None:
    end, ages = COUNTS[what]
    reads = (
        project.project / "one.reads"
    )  # not in the folder: a change there would count
    project.write("one.py", COUNTED.format(reads=str(reads)) + end)
    first = await project.folder.listing()
    assert reads.read_text() == "x"

    project.now += settings.max_age_s * ages - 1
    assert await project.folder.listing() == first
    await project.refreshed()
    assert reads.read_text() == "x"

    project.now += 1
    assert await project.folder.listing() == first
    await project.refreshed()
    assert reads.read_text() == "xx"


async def test_a_broken_file_is_read_again_when_what_it_lacks_is_there(
    project: Project, settings: DagSettings
) -> None:
    """What it lacks may be another DAG file, or broken itself."""
    project.write("one.py", "from airflow.sdk import DAG\nimport helper\n")
    first = await project.folder.listing()
    project.write("helper.py", "import airflow # dag\n1 / 0\n")
    second = await project.folder.listing()
    project.write("helper.py", "import airflow # dag\n")
    third = await project.folder.listing()

    assert "No module named 'helper'" in first.errors[0].error
    assert [error.file for error in second.errors] == ["helper.py", "one.py"]
    assert "ZeroDivisionError" in second.errors[1].error
    assert third.errors == ()


HANGS = {
    # how a file hangs as long as there is another file
    "and heeds its time limit": "time.sleep(60)",
    "and heeds nothing": """for _ in range(60):
        try:
            time.sleep(1)
        except BaseException:
            pass""",
}


@pytest.mark.parametrize("how", HANGS)
async def test_a_file_that_has_not_changed_goes_on_when_it_cannot_be_read_again_in_time(
    tmp_path: Path, zygote: Zygote, settings: DagSettings, how: str
) -> None:
    """A busy box fails no try and loses no DAG; what happened is told until it could be read again."""
    project = Project(tmp_path, zygote, replace(settings, import_timeout_s=5.0))
    slow = tmp_path / "slow"
    top = f"import os, time\nif os.path.exists({str(slow)!r}):\n    {HANGS[how]}"
    project.write_dag(top, "'as before'")
    await project.folder.listing()
    told = [await project.tell()]

    slow.touch()
    project.now += settings.max_age_s + 1
    told.append(await project.tell())
    listed = await project.folder.listing()
    assert [dag.dag_id for dag in listed.dags] == ["one"]
    assert [error.file for error in listed.errors] == ["one.py"]
    found = await project.folder.check(dag_id="one")
    assert found.file == "one.py"

    slow.unlink()
    project.now += settings.max_age_s + 1
    told.append(await project.tell())
    assert (await project.folder.listing()).errors == ()
    assert told == ["as before"] * 3
    project.folder.close()


ASKS = {
    "a Variable": "from airflow.sdk import Variable; WORD = Variable.get('word')",
    "a Connection": (
        "from airflow.sdk import BaseHook; WORD = BaseHook.get_connection('word').host"
    ),
}


@pytest.mark.parametrize("what", ASKS)
async def test_what_a_file_asks_for_is_asked_for_every_try(
    project: Project, what: str
) -> None:
    project.write_dag(ASKS[what], "WORD")

    for word in ("before", "after"):
        project.variables["word"] = word
        project.connections["word"] = Connection("word", conn_type="http", host=word)
        assert await project.tell() == word


HELD: dict[str, tuple[str, str]] = {
    # what the file makes → how, and what of it differs between tries that do not share it
    "an open socket": (
        "import os, socket; kept = socket.socketpair()",
        "os.fstat(kept[0].fileno()).st_ino",
    ),
    "a process": (
        "import subprocess; kept = subprocess.Popen(['sleep', '60'])",
        "kept.pid",
    ),
    "a thread": (
        """
        import threading, time
        kept = threading.Thread(target=time.sleep, args=(60,), daemon=True)
        kept.start()
        """,
        "[kept.is_alive(), threading.active_count(), kept.native_id]",
    ),
    "a drawn number": ("import random; kept = random.random()", "kept"),
    "a generator": ("import random; kept = random.Random()", "kept.random()"),
    "a generator deep in something": (
        "import random; kept = {'a': [random.Random()]}",
        "kept['a'][0].random()",
    ),
    "a number drawn by numpy": (
        "import numpy; kept = float(numpy.random.random())",
        "kept",
    ),
    "a generator of numpy": (
        "import numpy; kept = numpy.random.default_rng()",
        "float(kept.random())",
    ),
    "an old generator of numpy": (
        "import numpy; kept = numpy.random.RandomState()",
        "float(kept.random_sample())",
    ),
}


@pytest.mark.parametrize("what", HELD)
async def test_tries_do_not_share(project: Project, what: str) -> None:
    top, differs = HELD[what]
    project.write_dag(top, differs)

    assert await project.tell() != await project.tell()
    assert len((await project.folder.open("one.py")).parse_each_try) == 1


async def test_a_thread_of_the_file_runs_in_every_try(project: Project) -> None:
    top, state = HELD["a thread"]
    project.write_dag(top, state)

    assert (await project.tell())[:2] == [True, 2]


async def test_each_try_reads_an_open_file_from_its_begin(project: Project) -> None:
    project.write("words.txt", "the words")
    top = "import pathlib; kept = open(pathlib.Path(__file__).parent / 'words.txt')"
    project.write_dag(top, "kept.read()")

    assert [await project.tell() for _ in range(2)] == ["the words"] * 2


async def test_exit_functions_of_the_file_run_in_every_try(project: Project) -> None:
    path = project.project / "ended"
    top = f"import atexit, os; atexit.register(lambda: open({str(path)!r}, 'a').write('x'))"
    project.write_dag(top, "os.getpid()")

    for _ in range(2):
        await project.tell()

    assert path.read_text() == "xx"


SHARED = {
    # what is drawn in tasks of a file that is read once
    "random": ("import random", "random.random()"),
    "numpy": ("import numpy", "float(numpy.random.random())"),
    "a fresh generator of numpy": (
        "import numpy",
        "float(numpy.random.default_rng().random())",
    ),
    "uuid": ("import uuid", "str(uuid.uuid4())"),
    "secrets": ("import secrets", "secrets.token_hex()"),
}


@pytest.mark.parametrize("what", SHARED)
async def test_tries_of_one_reading_draw_different_numbers(
    project: Project, what: str
) -> None:
    project.write_dag(*SHARED[what])

    drawn = [await project.tell() for _ in range(3)]

    assert len(set(drawn)) == 3
    assert (await project.folder.open("one.py")).parse_each_try == ()


async def test_a_seed_of_the_file_gives_every_try_the_same_numbers(
    project: Project,
) -> None:
    project.write_dag("import random; random.seed(42)", "random.random()")

    assert await project.tell() == await project.tell()
