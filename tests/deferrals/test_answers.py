"""A run that asks people waits for nothing else, and takes no answer it did not ask for."""

import asyncio
import shlex
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client

from tests.box import Ended, RunningBox
from tests.deferrals.test_deferral import history
from tests.faults.processes import until
from tests.runs.test_runs import Report

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(180)]


class Asking:
    """A run that asks."""

    def __init__(self, box: RunningBox, dag_id: str) -> None:
        self.box, self.dag_id = box, dag_id
        done = box.submit(dag_id, "--logical-date", "2026-01-02", "-o", "json")
        assert done.code == 0, done.stderr
        self.run_id: str = done.json["run_id"]
        self.workflow_id = f"dag-{dag_id}-{self.run_id}"

    def asks(self, *subjects: str) -> None:
        """Wait until it asks all of that."""
        until("it asks", lambda: all(s in self.details() for s in subjects))

    def details(self) -> str:
        async def fetch() -> str:
            client = await Client.connect(
                f"127.0.0.1:{self.box.environ['APPLIANCE_PORT']}"
            )
            handle = client.get_workflow_handle(self.workflow_id)
            found: WorkflowMetadata = await handle.query(
                "__temporal_workflow_metadata", result_type=WorkflowMetadata
            )
            return found.current_details

        return asyncio.run(fetch())

    def answer(self, command: str, *words: str, task_id: str = "ask") -> Ended:
        where = (self.dag_id, self.run_id, task_id)
        return self.box.appliance(command, *where, *words)

    def end(self) -> dict[str, Any]:
        waited = self.box.appliance(
            "runs", "wait", self.dag_id, self.run_id, "-o", "json", timeout_s=100
        )
        return {
            f"{row['task_id']}{row['map_index'] if row['map_index'] >= 0 else ''}": (
                row["state"]
            )
            for row in waited.json["tasks"]
        }

    def returned(self, task_id: str = "ask") -> dict[str, Any]:
        found = self.box.appliance("xcoms", self.dag_id, self.run_id, "-o", "json")
        (value,) = [
            row["value"]
            for row in found.json
            if (row["task_id"], row["key"]) == (task_id, "return_value")
        ]
        return dict(value)


def test_an_answer_is_taken_once_and_only_if_it_is_one(box: RunningBox) -> None:
    run = Asking(box, "asks_for_colours")
    run.asks("Which colours on 2026-01-02?", "For the *front* door.")
    words = f"appliance respond asks_for_colours {run.run_id} ask --choose red"
    assert words in run.details()

    unknown = run.answer("respond", "--choose", "pink")
    strange = run.answer("respond", "--choose", "red", "--params", '{"size": 1}')
    nobody = run.answer("respond", "--choose", "red", task_id="other")
    chosen = ("--choose", "red", "--choose", "blue", "--params", '{"coats": 3}')
    taken = run.answer("respond", *chosen, "--user", "ann")

    assert (unknown.code, strange.code, nobody.code) == (2, 2, 2)
    assert 'no option "pink"; the options are "red", "green", "blue"' in unknown.stderr
    assert 'The params are "coats", not "size"' in strange.stderr
    assert '"other" asks nothing now. These do: "ask".' in nobody.stderr
    assert taken.code == 0, taken.stderr
    assert run.end() == {"ask": "success"}
    returned = run.returned()
    assert returned["chosen_options"] == ["red", "blue"]
    assert returned["params_input"] == {"coats": 3}
    assert returned["responded_by_user"] == {"id": "ann", "name": "ann"}
    assert run.answer("respond", "--choose", "red").code == 2
    # What was refused left no event.
    assert history(box, run.workflow_id).count("UPDATE_ACCEPTED") == 1


def test_only_those_assigned_may_answer(box: RunningBox) -> None:
    run = Asking(box, "asks_bob")
    run.asks("Ship?", 'Only "Bob" (bob) may answer')

    refused = run.answer("approve", "--user", "ann")
    (shown,) = [line for line in run.details().splitlines() if "appliance " in line]
    taken = run.box.appliance(*shlex.split(shown)[1:])

    assert refused.code == 2
    assert 'ann may not answer; "bob" may' in refused.stderr
    assert taken.code == 0, taken.stderr
    assert run.end() == {"ask": "success", "ship": "success"}


def test_who_is_not_answered_takes_the_defaults_or_fails(box: RunningBox) -> None:
    report = Report(box, "asks_in_vain")

    assert report.states == {"defaults": "success", "fails": "failed"}
    assert report.returned("defaults")["params_input"] == {"name": "anybody"}
    log = box.appliance("logs", "asks_in_vain", report.run_id, "fails").stdout
    assert "HITLTimeoutError" in log


def test_each_mapped_instance_asks_for_itself(box: RunningBox) -> None:
    run = Asking(box, "asks_each")
    run.asks("one", "two", "Where to?")

    strange = run.answer("respond", "--choose", "a")
    assert '"ask" asks nothing now. These do: "' in strange.stderr
    assert '"ask" --map-index 1' in strange.stderr
    for index, option in enumerate("ba"):
        words = ("--map-index", str(index), "--choose", option)
        assert run.answer("respond", *words).code == 0
    assert run.answer("respond", "--choose", "right", task_id="branch").code == 0

    ended = {"ask0": "success", "ask1": "success", "branch": "success"}
    assert run.end() == {**ended, "left": "skipped", "right": "success"}
