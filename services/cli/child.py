"""Runs a service's module as a child that ends with its parent, however the parent ends."""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1  # From Linux's prctl.h.


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent dies. On other systems there is no such thing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # It died before the line above.
        raise SystemExit(0)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
