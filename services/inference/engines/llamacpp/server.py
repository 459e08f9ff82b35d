"""llama.cpp's server in this process: what it is told when it starts."""

import os
import sys
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol, cast

from services.chassis.errors import FailedPrecondition
from services.inference.engines import failures
from services.inference.engines.llamacpp.completion import Server
from services.inference.engines.llamacpp.model_file import ModelFile
from services.inference.engines.llamacpp.vectors import GROUP
from services.inference.engines.vocabulary import has_pooling

_NICENESS: Final = 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much the engine runs at a time."""

    slots: int = 4
    queue: int = 64
    context_tokens: int = 4_096
    """For each slot."""
    batch_tokens: int = 128
    prompt_cache_mib: int = 256
    threads: int | None = None


def started(file: ModelFile, sizes: Sizes, key: str, is_embedding: bool) -> Server:
    """The server of a model, in this process. Blocks while the model is loaded.

    Raises:
        FailedPrecondition: `ENGINE_NOT_INSTALLED`; the wheel does not load.
        Unavailable: `ENGINE_FAILED`; the file cannot be loaded.
    """
    try:
        xllamacpp = import_module("xllamacpp")  # Here, so that other engines need no wheel.
    except ImportError as error:
        raise FailedPrecondition(
            "ENGINE_NOT_INSTALLED",
            f"llama.cpp's wheel xllamacpp does not load ({error}): install one for this machine, "
            "or start with --engine echo (INFERENCE_ENGINE=echo)",
        ) from None
    try:
        return cast("Server", xllamacpp.Server(_params(xllamacpp, file, sizes, key, is_embedding)))
    except (OSError, RuntimeError, ValueError) as error:
        raise failures.engine_failed(f"{file.path} cannot be loaded: {error}") from None


def _params(xllamacpp: Any, file: ModelFile, sizes: Sizes, key: str, is_embedding: bool) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(file.path)
    params.n_parallel = sizes.slots
    params.n_ctx = sizes.context_tokens * sizes.slots
    params.n_batch = params.n_ubatch = sizes.batch_tokens
    params.cache_ram_mib = sizes.prompt_cache_mib
    if is_embedding:
        _embed(params, sizes)
        if not has_pooling(file.path):
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    for cpu_params in (params.cpuparams, params.cpuparams_batch):
        _place(cpu_params, sizes.threads)
    params.api_keys = [key]  # The port is for this process alone.
    params.n_threads_http = 2
    params.endpoint_metrics = True  # What `let_go` asks.
    params.verbosity = 0
    return params


def _embed(params: Any, sizes: Sizes) -> None:
    """Have it read whole texts, several at once, and make a vector of each.

    Texts of different lengths are cut where each has a cache of its own, and a vector of a part is
    none of the text: they share one. It has room for the texts of one batch beside those that
    are over.
    """
    params.embedding = True
    params.kv_unified = True
    params.n_parallel = contexts(sizes.slots, is_embedding=True)
    params.n_batch = params.n_ubatch = sizes.context_tokens
    params.n_ctx = sizes.context_tokens * params.n_parallel


def contexts(slots: int, *, is_embedding: bool) -> int:
    """How many contexts an engine has memory for."""
    return max(slots, GROUP) if is_embedding else slots


def give_way() -> None:
    """Put this thread, and those it starts, behind everything else that wants a CPU.

    They compute all the time while there is something to generate. What passes the text on needs
    little, and would wait for the end of their time slices.
    """
    if sys.platform == "linux":  # Elsewhere niceness belongs to the process.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class _CpuParams(Protocol):
    n_threads: int
    poll: int
    cpumask: list[bool]
    mask_valid: bool
    strict_cpu: bool


def _place(params: _CpuParams, threads: int | None) -> None:
    """Say how many threads compute, and where.

    They wait for each other several hundred times a token, spinning. Once two of them share a CPU,
    because something else runs too, that is a hundred times slower; so where there is a thread
    for each CPU, each stays on its own.
    """
    cpus = os.sched_getaffinity(0)
    params.n_threads = threads or len(cpus)
    params.poll = 0
    if params.n_threads == len(cpus):
        params.cpumask = [cpu in cpus for cpu in range(len(params.cpumask))]
        params.mask_valid = params.strict_cpu = True
