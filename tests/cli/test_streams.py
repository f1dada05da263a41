"""Commands whose caller has closed their output, as cron and daemons may."""

import sys

import pytest

from tests.box import RunningBox, run

pytestmark = pytest.mark.needs_server


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(box: RunningBox, closed: str) -> None:
    start = "from appliance.__main__ import submit; submit()"
    words = [sys.executable, "-c", start, "my_dag", "--wait"]

    ended = run(["sh", "-c", f'"$@" {closed}', "sh", *words], box.environ, 60)

    assert (ended.code, ended.stderr) == (0, "")
