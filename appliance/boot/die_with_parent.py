"""Program that runs another one which ends with its parent process.

Use: ``python -m appliance.boot.die_with_parent [--only=NAME,...] PROGRAM ARGUMENTS...``.
A killed supervisord cannot stop what it started; left alone, the server would hold its ports and its database against
the next start. The kernel's signal to orphans survives the exec, so the program itself knows nothing of it.
Of the environment, in which secrets are, a program that is given names has those variables alone.
"""

import ctypes
import os
import signal
import sys

ONLY = "--only="
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent is gone, and end now if it is already."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    end_with_parent()
    words, environ = sys.argv[1:], dict(os.environ)
    if words[0].startswith(ONLY):
        names = words.pop(0).removeprefix(ONLY).split(",")
        environ = {name: environ[name] for name in names if name in environ}
    os.execve(words[0], words, environ)  # noqa: S606 - our own command line
