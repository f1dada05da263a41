"""Rules of docs/STYLE.md that no linter checks."""

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
    (re.compile(r"(?<![\w.])/(work|root)/"), "a path of one machine"),
)
TEMPLATE = {
    "__init__",
    "model",
    "messages",
    "input_checks",
    "details",
    "workflow",
    "run_side",
    "activities",
    "client",
}
"""The file names of a feature: docs/ARCHITECTURE.md says what each holds."""
SIDES = {"workflow", "run_side"}
"""A package with one of these is a feature."""
OTHER_FILES: dict[str, str] = {
    "pools/contention": "which pools a run asks: a question of the worker's capacity",
    "pools/exemption": "tries that have not asked: the worker's part of contention",
    "runs/activity_inputs": "checks in a worker, which knows more than input_checks",
    "runs/attempt_journal": "a file of the worker's host",
    "runs/attempts": "part of the workflow: tries",
    "runs/callback_context": "part of the model: callbacks",
    "runs/continue_as_new": "part of the workflow: its continuation",
    "runs/dag_reading": "part of the workflow: its first step",
    "runs/deferral_activities": "activities: waits",
    "runs/deferrals": "part of the workflow: waits",
    "runs/ended_runs": "client: runs that have ended, without a worker",
    "runs/final_record": "part of the model: the result of a run",
    "runs/hitl": "part of the model: questions to people",
    "runs/hitl_client": "client: answers of people",
    "runs/notifications": "part of the workflow: listeners and callbacks",
    "runs/other_runs": "client: what a task asks about other runs",
    "runs/outcomes": "part of the workflow: ends of activities",
    "runs/reports": "values that clients return",
    "runs/resumption": "seals of a worker on parked tries",
    "runs/run_data": "part of the model: XComs, times, labels",
    "runs/run_records": "part of the model: records for other features",
    "runs/running_attempts": "tries that a worker runs, apart from activities",
    "runs/start": "client: starts runs",
    "runs/worker_client": "client: what a worker asks of its tries' runs",
    "runs/xcoms": "client: XComs",
    "schedules/declarations": "what the DAG folder and the configuration schedule",
    "schedules/reconciler": "a loop of the worker",
    "schedules/temporal_schedule_activity": "activities of the second workflow",
    "schedules/temporal_schedule_workflow": "the second workflow",
    "schedules/temporal_schedules": "a loop of the worker",
}
"""Files of features that the template does not know, and why they are apart."""
BAD_NAMES = {"utils", "helpers", "common", "base", "manager", "handler", "service"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_a_module_is_small_and_says_what_it_holds(module: Path) -> None:
    text = module.read_text()

    assert len(text.splitlines()) <= MOST_LINES
    assert text.startswith(('"""', 'r"""'))
    assert module.stem not in BAD_NAMES


@pytest.mark.parametrize("file", [*MODULES, *TESTS], ids=_name)
def test_a_file_has_no_forbidden_words(file: Path) -> None:
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


def test_features_use_the_file_names_of_the_template() -> None:
    features = {path.parent for path in MODULES if path.stem in SIDES}
    others = {
        f"{path.parent.relative_to(PACKAGE)}/{path.stem}"
        for path in MODULES
        if path.parent in features and path.stem not in TEMPLATE
    }

    assert others == set(OTHER_FILES), "name the file by the template, or say why not"
