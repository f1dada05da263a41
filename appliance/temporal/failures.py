"""Shows failures in the Temporal UI with the task's own traceback, never the worker's."""

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from appliance.temporal.messages import (
    RUN_FAILED,
    RUN_REFUSED,
    TRY_FAILED,
    TRY_LOST,
    TRY_STOPPED,
)

_OURS = (TRY_FAILED, TRY_LOST, TRY_STOPPED, RUN_FAILED, RUN_REFUSED)


def said(error: BaseException | None) -> str:
    """Return what an error says, without the name of its type if that is one of ours."""
    if isinstance(error, ApplicationError) and error.type in _OURS:
        return error.message
    return str(error)


class TaskFailureConverter(DefaultFailureConverter):
    """Shows the first line of one of our errors as its message, what follows as its stack trace."""

    def to_failure(
        self,
        exception: BaseException,
        payload_converter: PayloadConverter,
        failure: Failure,
    ) -> None:
        """Convert an exception; ours say all there is to say in their text."""
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, ApplicationError) and exception.type in _OURS:
            message, _, trace = failure.message.partition("\n")
            failure.message, failure.stack_trace = message, trace
