"""Runs a program that ends with us: ``python -m appliance.boot.tether PROGRAM ARGUMENTS...``.

A killed supervisord cannot stop what it started; left alone, the server would hold its ports and its database against
the next start. The kernel's signal to orphans survives the exec, so the program itself knows nothing of it.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent is gone, and end now if it is already."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    end_with_parent()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - our own command line
