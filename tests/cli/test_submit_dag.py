"""``submit_dag`` in somebody's program: how it ends, and that the program can end then, too."""

import sys

import pytest

from tests.box import RunningBox, run

pytestmark = pytest.mark.needs_server


@pytest.mark.parametrize(
    ("dag_id", "timeout_s", "said"),
    [
        ("my_dag", "60", "success"),
        ("my_dag", "0.001", "WaitTimeout"),
        ("my_dga", "60", "DagError"),
    ],
)
def test_when_it_returns_no_thread_is_left_that_would_crash_the_program_at_its_end(
    box: RunningBox, dag_id: str, timeout_s: str, said: str
) -> None:
    command = [sys.executable, "-m", "tests.cli.submits", dag_id, timeout_s]

    ended = run(command, box.environ, timeout_s=60)

    assert (ended.stdout, ended.code) == (f"{said} none\n", 0), ended.stderr
