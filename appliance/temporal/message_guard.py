"""Drops signals and refuses updates that a workflow cannot read, which would otherwise stop it.

A signal that cannot be taken in is dropped, an update is refused. Without this the workflow task would fail and be tried
for ever, and with it all the workflow stands for.
"""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from appliance.temporal import input_checks

_UNFIT = (
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
)


class MessageGuard(Interceptor):
    """Stands before all workflows of a worker."""

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # the SDK's name
    ) -> type[WorkflowInboundInterceptor]:
        """Return what stands before one."""
        return _Guarded


class _Guarded(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:
        try:
            input_checks.refuse(input_checks.of_anything(input.args))
            await super().handle_signal(input)
        except (*_UNFIT, ApplicationError) as err:
            workflow.logger.warning("the signal %s is dropped: %s", input.signal, err)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        input_checks.refuse(input_checks.of_anything(input.args))
        try:
            return await super().handle_update_handler(input)
        except _UNFIT as err:
            input_checks.refuse(f"the update {input.update} cannot be taken in: {err}")
