"""What the end of a try's activity means."""

from typing import Any

import pytest
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    TimeoutError,
    TimeoutType,
)

from appliance.runs.messages import ACTIVITY, TRY_NOT_BEGUN
from appliance.runs.outcomes import Gone, HeartbeatTimeout, classify
from appliance.temporal import messages


def ended(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "ended",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type=ACTIVITY,
        activity_id="1",
        retry_state=None,
    )
    error.__cause__ = cause
    return error


def timed_out(kind: TimeoutType, *details: Any) -> TimeoutError:
    return TimeoutError("too late", type=kind, last_heartbeat_details=details)


def failed(kind: str) -> ApplicationError:
    return ApplicationError("failed", type=kind)


@pytest.mark.parametrize(
    ("cause", "means"),
    [
        (timed_out(TimeoutType.HEARTBEAT, "q@box"), HeartbeatTimeout("q@box")),
        # Frozen within its first second, before it said whose it is.
        (timed_out(TimeoutType.HEARTBEAT), HeartbeatTimeout(None)),
        (timed_out(TimeoutType.SCHEDULE_TO_START), Gone.LOST),
        (failed(messages.TRY_LOST), Gone.LOST),
        (failed(messages.TRY_STOPPED), Gone.LOST),
        (failed(TRY_NOT_BEGUN), Gone.NOT_BEGUN),
        (CancelledError("before it began"), Gone.NOT_BEGUN),
        (failed("nobody foresaw this"), None),
    ],
)
def test_an_end_means(cause: BaseException, means: object) -> None:
    assert classify(ended(cause)) == means
