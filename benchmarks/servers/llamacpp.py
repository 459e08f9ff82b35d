"""llama.cpp's own HTTP server, set as our engine sets the one in its process."""

import os
import sys
import threading
from importlib import import_module
from typing import Final

from services.inference.engines.llamacpp.model_file import located

SLOTS: Final = 8
CONTEXT_TOKENS: Final = 1_024
THREADS: Final = "INFERENCE_LLAMACPP__THREADS"
"""The engine's setting, which this server reads, too: threads that compute, one a CPU if it is not
set."""


def serve(port: int) -> None:
    """Serve the packaged model until this process ends."""
    xllamacpp = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(located(None, None).path)
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_TOKENS * SLOTS
    params.n_batch = params.n_ubatch = 128
    params.cache_ram_mib = 256
    params.n_threads_http = 2 * SLOTS
    params.verbosity = 0
    os.setpriority(os.PRIO_PROCESS, 0, 10)  # Its threads behind whoever reads what they say.
    cpus = os.sched_getaffinity(0)
    threads = int(os.environ.get(THREADS, len(cpus)))
    for each in (params.cpuparams, params.cpuparams_batch):
        each.n_threads, each.poll = threads, 0
        if threads == len(cpus):
            each.cpumask = [cpu in cpus for cpu in range(len(each.cpumask))]
            each.mask_valid = each.strict_cpu = True
    server = xllamacpp.Server(params)
    sys.stderr.write(f"http://127.0.0.1:{port}/v1 serves until Ctrl-C\n")
    threading.Event().wait()
    del server
