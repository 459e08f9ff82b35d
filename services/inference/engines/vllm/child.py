"""Ends vLLM's processes with the one that started them, however that ends.

vLLM stops them when it is shut down. Of a process that was killed, they would go on, and hold the
GPU's memory against the one that is started in its place. vLLM calls this in each of its processes,
as a plugin that pyproject.toml names.
"""

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess


def end_with_parent() -> None:
    """Watch the process that started this one, if one did."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
