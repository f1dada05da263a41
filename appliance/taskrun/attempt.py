"""One try, supervised: start the child, answer it, keep its output, find out how it ended.

How it ended is what the child reported *and* how its process ended:

=================  =============================  ==============================================
exit code          reported                       state
=================  =============================  ==============================================
0                  anything                       as reported
0                  nothing                        success
not 0              success, up_for_retry,         as reported: Airflow's server has acted on it
                   up_for_reschedule              already
not 0              anything else, or nothing      up_for_retry if retries are left, else failed
=================  =============================  ==============================================

Nothing a cancelled try reports counts any more.

Source: Airflow 3.3: ``airflow/sdk/execution_time/supervisor.py`` (ActivitySubprocess.final_state).
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from appliance.config.model import Secrets
from appliance.dagrun.states import TaskState
from appliance.dagrun.tries import ActivityTaskInput, TaskExecutionResult
from appliance.taskrun.channels import Channels, Lines
from appliance.taskrun.replies import Replies
from appliance.taskrun.runview import RunView
from appliance.taskrun.spares import Prepared, Spares
from appliance.taskrun.startup import should_retry, startup_details
from appliance.warm import datagrams, frames
from appliance.warm.control import Child, Exit, Zygote

OVERTIME_S = 20.0
"""Airflow's default of ``core.task_success_overtime``: callbacks after the end was reported get this long."""
LATE_OUTPUT_S = 1.0
"""How long processes a try left behind may still write to its log."""
_DIRECT = frozenset(
    (TaskState.SUCCESS, TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE)
)
