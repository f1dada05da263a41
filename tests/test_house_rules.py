"""Rules of the house that no linter knows."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

MOST_LINES = 500
PACKAGE = ROOT / "appliance"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

FORBIDDEN = (
    (re.compile(r"\b(TODO|FIXME|XXX)\b"), "open ends are issues, not comments"),
    (re.compile(r"unittest\.mock|monkeypatch\.setattr"), "use a fake in tests/fakes"),
    (re.compile(r"# type: ignore$", re.MULTILINE), "name the error that is ignored"),
    (re.compile(r"mark\.(skip|xfail)\b"), "a test that does not run proves nothing"),
    (re.compile(r"(?<![\w.])/(work|root)/"), "a path of somebody's machine"),
)
BAD_NAMES = {"utils", "helpers", "common", "base", "manager", "handler", "service"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_module_is_small_and_says_what_it_is_for(module: Path) -> None:
    text = module.read_text()

    assert len(text.splitlines()) <= MOST_LINES
    assert text.startswith(('"""', 'r"""'))
    assert module.stem not in BAD_NAMES


@pytest.mark.parametrize("file", [*MODULES, *TESTS], ids=_name)
def test_file_has_no_forbidden_words(file: Path) -> None:
    text = "" if file == Path(__file__) else file.read_text()

    found = [why for pattern, why in FORBIDDEN if pattern.search(text)]

    assert found == []


def test_only_ci_knows_the_folder_beside_the_repository() -> None:
    files = subprocess.run(
        ["git", "grep", "-lI", "-e", "\\.\\./shared", "-e", "/work/"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()

    assert set(files) <= {".ci/run", "tests/test_house_rules.py"}
