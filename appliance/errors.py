"""Errors that a person sees: each says what, where, why and what to do, and is shown without a traceback.

Anything else that escapes is a bug and keeps its traceback.
"""


class ApplianceError(Exception):
    """Root of the errors people see; ``exit_code`` is what the command line ends with."""

    exit_code = 2


class UsageError(ApplianceError):
    """The command was called with something it cannot take."""


class ConfigError(ApplianceError):
    """``appliance.yaml``, a settings file or an environment variable is wrong.

    The text has one line a problem, each ``file:line:column: what, hint``.
    """


class DagError(ApplianceError):
    """A DAG cannot be found, read, or run here; the text names file, line, task and feature."""


class RunFailed(ApplianceError):
    """The DAG run ended, and not in success."""

    exit_code = 1


class TemporalUnreachable(ApplianceError):
    """No Temporal server, or no worker of ours behind it, answered in time."""

    exit_code = 3


class WaitTimeout(ApplianceError):
    """``--timeout`` passed; the run goes on."""

    exit_code = 124
