"""Activities that wait: one fails until it has what it waits for, as its next try leaves no event in any history."""

from datetime import timedelta

from temporalio.exceptions import ApplicationError


def not_yet(why: str, again: timedelta | None = None) -> ApplicationError:
    """Return the error of an activity that is to be tried again, without a trace in any history."""
    return ApplicationError(why, type="NotYet", next_retry_delay=again)
