"""Whatever there is in a DAG folder: good files run, and what cannot be looked at is an error of its own."""

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from appliance.config.model import DagSettings
from appliance.errors import DagError
from appliance.forkserver.control import Zygote
from tests.dagfile.conftest import Box
from tests.taskrun.conftest import zygote_env

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
]

GOOD = "from airflow.sdk import DAG\ndag = DAG('good')\n"


@pytest.fixture
def root(box: Box) -> Path:
    """Give a folder with a good DAG file."""
    box.write("good.py", GOOD)
    return box.root


async def told(box: Box) -> dict[str, str]:
    """Return file → error; the good DAG is there, once, and can be run."""
    listing = await box.folder.listing()
    assert [dag.dag_id for dag in listing.dags] == ["good"]
    assert (await box.folder.check(dag_id="good")).dag_id == "good"
    return {error.file: error.error for error in listing.errors}


def to_itself(root: Path) -> None:
    (root / "loop.py").symlink_to("loop.py")


def to_each_other(root: Path) -> None:
    (root / "one").symlink_to("loop.py")
    (root / "loop.py").symlink_to("one")
    (root / ".airflowignore").write_text("one")


def to_the_parent(root: Path) -> None:
    (root / "loop.py").symlink_to("..")


def to_the_folder(root: Path) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    (root / "loop.py").symlink_to("deep/er/up")
    (root / "deep" / "er" / "up").symlink_to("../..")
    (root / ".airflowignore").write_text("deep/")


def to_everything(root: Path) -> None:
    (root / "loop.py").symlink_to("/")


LOOPS: dict[str, tuple[Callable[[Path], None], str]] = {
    "to itself": (to_itself, "is a link that leads back to itself"),
    "to each other": (to_each_other, "is a link that leads back to itself"),
    "to the parent": (to_the_parent, "a folder that it is in itself"),
    "to the folder": (to_the_folder, "a folder that it is in itself"),
    "to everything": (to_everything, "is a link to /, a folder that it is in itself"),
}


@pytest.mark.parametrize("how", LOOPS)
async def test_a_link_that_loops_is_an_error_of_its_own(
    box: Box, root: Path, how: str
) -> None:
    make, says = LOOPS[how]
    make(root)

    errors = await told(box)

    assert list(errors) == ["loop.py"]
    assert says in errors["loop.py"]


def configmap(root: Path) -> None:
    """As kubelet's AtomicWriter lays it out, amid an update."""
    for version in ("..2026_01_01", "..2026_01_02"):
        (root / version).mkdir()
        (root / version / "good.py").write_text(GOOD)
    (root / "..data").symlink_to("..2026_01_02")
    (root / "good.py").unlink()
    (root / "good.py").symlink_to("..data/good.py")


def git_sync(root: Path) -> None:
    (root / ".worktrees").mkdir()
    (root / "good.py").rename(root / ".worktrees" / "good.py")
    (root / "current").symlink_to(".worktrees")


def another_name(root: Path) -> None:
    (root / "real").mkdir()
    (root / "good.py").rename(root / "real" / "good.py")
    (root / "alias").symlink_to("real")


def elsewhere(root: Path) -> None:
    (root.parent / "team").mkdir()
    (root / "good.py").rename(root.parent / "team" / "good.py")
    (root / "team").symlink_to("../team")


def ignored(root: Path) -> None:
    (root / "up").symlink_to("..")
    (root / "gone.py").symlink_to("nowhere.py")
    (root / "linked").mkdir()
    (root / "linked" / "loop.py").symlink_to("loop.py")
    (root / "linked" / ".airflowignore").write_text("loop.py")
    (root / ".airflowignore").write_text("up\ngone.py")


def no_files(root: Path) -> None:
    """What Airflow passes over, too."""
    os.mkfifo(root / "pipe.py")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(root / "s.py"))
    (root / "zero.py").symlink_to("/dev/zero")
    (root / ".#edited.py").symlink_to("me@host.1:2")  # an editor's lock
    (root / "data").symlink_to("/not/mounted/data.csv")
    (root / "packed.zip").write_text("no archive")
    (root / "folder.py").mkdir()


HARMLESS: dict[str, tuple[Callable[[Path], None], str]] = {
    # what there is → where the good file is then
    "a ConfigMap": (configmap, "good.py"),
    "git-sync": (git_sync, "current/good.py"),
    "a folder with two names": (another_name, "real/good.py"),
    "a folder elsewhere": (elsewhere, "team/good.py"),
    "what is ignored": (ignored, "good.py"),
    "no files": (no_files, "good.py"),
}


@pytest.mark.parametrize("what", HARMLESS)
async def test_a_folder_may_have(box: Box, root: Path, what: str) -> None:
    make, file = HARMLESS[what]
    make(root)

    assert await told(box) == {}
    assert (await box.folder.check(dag_id="good")).file == file
    named = await box.folder.check(dag_id="good", dag_file=file)
    assert named.file == file


async def test_a_file_with_two_names_is_two_files(box: Box) -> None:
    """As in Airflow: DAG files name their DAGs after themselves."""
    text = "from airflow.sdk import DAG\nimport pathlib\ndag = DAG(pathlib.Path(__file__).stem)\n"
    box.write("one.py", text)
    (box.root / "two.py").symlink_to("one.py")
    os.link(box.root / "one.py", box.root / "three.py")

    listing = await box.folder.listing()

    assert [dag.dag_id for dag in listing.dags] == ["one", "three", "two"]


NAMES: dict[str, tuple[bytes, str]] = {
    # what → the name, how it is shown
    "not in UTF-8": (b"caf\xe9.py", "caf\\xe9.py"),
    "below one that is not": (b"caf\xe9/one.py", "caf\\xe9/one.py"),
    "leads nowhere": (b"link.py", "link.py"),
}


def make_named(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.name == "link.py":
        path.symlink_to("/not/mounted/link.py")
    else:
        path.write_text(text)


@pytest.mark.parametrize("what", NAMES)
async def test_a_name_is_an_error_of_its_own(box: Box, root: Path, what: str) -> None:
    name, shown = NAMES[what]
    path = Path(os.fsdecode(os.fsencode(root) + b"/" + name))
    make_named(path, GOOD)

    errors = await told(box)

    assert list(errors) == [shown]
    assert "rename it" in errors[shown] or "/not/mounted/link.py" in errors[shown]


@pytest.mark.parametrize("name", ["a\nb.py", "x" * 252 + ".py", " .py", "🌞.py"])
async def test_a_strange_name_is_none_of_our_business(box: Box, name: str) -> None:
    box.write(name, GOOD)

    assert await told(box) == {}


IGNORES: dict[str, tuple[bytes, str]] = {
    "a pattern that is none": (b"!\n", "'!' is no pattern"),
    "bytes": (b"\xff\xfe", "UnicodeDecodeError"),
}


@pytest.mark.parametrize("what", IGNORES)
async def test_an_ignore_file_with(box: Box, root: Path, what: str) -> None:
    text, says = IGNORES[what]
    (root / ".airflowignore").write_bytes(text)

    errors = await told(box)

    assert list(errors) == [".airflowignore"]
    assert says in errors[".airflowignore"]


async def test_what_airflow_cannot_examine_is_an_error(
    tmp_path: Path, settings: DagSettings
) -> None:
    (tmp_path / "plugins" / "mine.py").write_text(
        "def may_be(file_path, zip_file=None):\n"
        "    return 'good' in file_path or 1 / 0\n"
    )
    env = zygote_env(tmp_path)
    env["AIRFLOW__CORE__MIGHT_CONTAIN_DAG_CALLABLE"] = "mine.may_be"
    env["PYTHONPATH"] += f"{os.pathsep}{tmp_path / 'plugins'}"
    zygote = await Zygote.start(env=env)
    box = Box(tmp_path, zygote, settings)
    box.write("good.py", GOOD)
    box.write("other.py", GOOD)

    assert await told(box) == {
        "other.py": "cannot be used: ZeroDivisionError: division by zero"
    }

    box.folder.close()
    zygote.close()


# --- what may not be read


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bound(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    """Give a zygote that modes bind, whoever runs the tests."""
    env = zygote_env(tmp_path_factory.mktemp("home"))
    zygote = await Zygote.start(env=env, preload=["tests.fakes.bound"])
    yield zygote
    zygote.close()


@pytest.fixture
def shut(tmp_path: Path, bound: Zygote, settings: DagSettings) -> Iterator[Box]:
    box = Box(tmp_path, bound, settings)
    box.write("good.py", GOOD)
    yield box
    box.folder.close()
    for path in (box.root, *box.root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)


SHUT: dict[str, tuple[str, str, str]] = {
    # what → the path that is shut, the entry that is told, what of its mode is told
    "a file": ("shut.py", "shut.py", "----------"),
    "an archive": ("shut.zip", "shut.zip", "----------"),
    "a folder": ("shut/", "shut", "d---------"),
    "a link into a folder": ("shut/one/", "one", "d---------"),
    "what to ignore": (".airflowignore", ".airflowignore", "----------"),
}


@pytest.mark.parametrize("what", SHUT)
async def test_what_may_not_be_read_is_told_with_owner_mode_and_ways_out(
    shut: Box, what: str
) -> None:
    name, entry, mode = SHUT[what]
    path = shut.root / name
    if name.endswith("/"):
        path.mkdir(parents=True)
        if entry not in name.split("/")[:1]:
            (shut.root / entry).symlink_to(name)
    else:
        path.write_text(GOOD)
    closed = shut.root / name.split("/")[0]
    closed.chmod(0)

    errors = await told(shut)

    me = os.geteuid()
    assert f"{closed}: cannot be read by user {me}" in errors[entry]
    assert mode in errors[entry]
    assert f"docker run --user {me}:{os.getegid()}" in errors[entry]
    assert f"chmod -R a+rX {closed}" in errors[entry]

    closed.chmod(0o755)
    path.unlink() if path.is_file() else (path / "words.txt").touch()
    assert await told(shut) == {}


async def test_data_that_may_not_be_read_is_none_of_our_business(shut: Box) -> None:
    path = shut.root / "secrets.json"
    path.write_text("{}")
    path.chmod(0)

    assert await told(shut) == {}


# --- the folder itself


async def test_while_the_folder_is_gone_its_dags_go_on_as_they_were(
    box: Box, root: Path
) -> None:
    before = await told(box)
    opened = await box.folder.open("good.py")
    seen = await box.folder.version()
    away = root.with_name("away")
    root.rename(away)  # noqa: ASYNC240 - at once

    errors = {error.file: error.error for error in (await box.folder.listing()).errors}

    assert list(errors) == [str(root)]
    assert "is not there" in errors[str(root)]
    assert [dag.dag_id for dag in (await box.folder.listing()).dags] == ["good"]
    assert await box.folder.version() != seen
    assert (await box.folder.open("good.py")).zygote is opened.zygote
    with pytest.raises(DagError, match="is not there"):
        await box.folder.check(dag_id="good")

    away.rename(root)
    assert await told(box) == before == {}


async def test_a_folder_that_was_never_there_is_told(
    tmp_path: Path, zygote: Zygote, settings: DagSettings
) -> None:
    settings.folder.rmdir()
    box = Box(tmp_path, zygote, settings)

    (error,) = (await box.folder.listing()).errors

    assert error.file == str(settings.folder)
    assert error.hides("anything.py")
    with pytest.raises(DagError, match="is not there"):
        await box.folder.open("good.py")

    box.write("good.py", GOOD)
    assert await told(box) == {}
    box.folder.close()


async def test_a_folder_that_is_a_link_is_followed_to_where_it_leads_now(
    tmp_path: Path, zygote: Zygote, settings: DagSettings
) -> None:
    """As git-sync swaps versions: in one step, under the same name."""
    settings.folder.rmdir()
    box = Box(tmp_path, zygote, settings)
    for version, dag_id in (("old", "before"), ("new", "after")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "one.py").write_text(GOOD.replace("good", dag_id))
        os.utime(tmp_path / version / "one.py", ns=(1, 1))
    settings.folder.symlink_to("old")
    assert (await box.folder.check(dag_id="before")).file == "one.py"

    (tmp_path / "swap").symlink_to("new")
    (tmp_path / "swap").rename(settings.folder)

    assert (await box.folder.check(dag_id="after")).file == "one.py"
    assert [dag.dag_id for dag in (await box.folder.listing()).dags] == ["after"]
    box.folder.close()


async def test_a_file_replaced_by_a_folder_is_gone(box: Box, root: Path) -> None:
    box.write("other.py", GOOD.replace("good", "other"))
    assert len((await box.folder.listing()).dags) == 2
    (root / "other.py").unlink()
    box.write("other.py/deep.py", GOOD.replace("good", "deep"))

    assert [dag.dag_id for dag in (await box.folder.listing()).dags] == ["deep", "good"]
    with pytest.raises(DagError, match="no such file"):
        await box.folder.open("other.py")
