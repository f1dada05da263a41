"""Final state of a try from its exit code and its last report, and the cause when it was killed.

How it ended is what the child reported *and* how its process ended:

=================  =============================  ==============================================
exit code          reported                       state
=================  =============================  ==============================================
0                  anything                       as reported
0                  nothing                        success; sent SIGTERM by others, as below
not 0              success, up_for_retry,         as reported: Airflow's server has acted on it
                   up_for_reschedule, deferred,   already
                   awaiting_input
not 0              anything else, or nothing      up_for_retry if retries are left, else failed
=================  =============================  ==============================================

Source: Airflow 3.3: ``airflow/sdk/execution_time/supervisor.py`` (ActivitySubprocess.final_state).
"""

import signal

from appliance.dagrun.states import PARKED, TaskState
from appliance.forkserver.control import Exit

_SIGNALLED = "its process ended after it was sent SIGTERM from outside"
_DIRECT = PARKED | {
    TaskState.SUCCESS,
    TaskState.UP_FOR_RETRY,
    TaskState.UP_FOR_RESCHEDULE,
}


def final_state(
    code: int,
    reported: TaskState | None,
    *,
    is_retried: bool,
    is_signalled: bool = False,
) -> TaskState:
    """Return the state a try is in, by the table above."""
    if code == 0 and (reported or not is_signalled):
        return reported or TaskState.SUCCESS
    if reported in _DIRECT:
        return reported
    return TaskState.UP_FOR_RETRY if is_retried else TaskState.FAILED


def cause_of_death(ended: Exit, *, is_signalled: bool = False) -> str | None:
    """Say what became of a process that did not end by itself with 0; ``is_signalled``: others sent it SIGTERM."""
    if ended.is_orphan:
        return "killed: the process it was forked from died"
    if ended.code > 0:
        return f"its process exited with code {ended.code}"
    if ended.code < 0:
        return f"killed by {signal.Signals(-ended.code).name}{_hint(ended)}"
    return _SIGNALLED if is_signalled else None


def _hint(ended: Exit) -> str:
    match -ended.code:
        case signal.SIGKILL:
            used_mb = ended.maxrss_kb // 1024
            return f" (out of memory? It used {used_mb} MB at most)"
        case signal.SIGSEGV | signal.SIGBUS | signal.SIGILL | signal.SIGFPE:
            return " (a crash in native code)"
        case _:
            return ""
