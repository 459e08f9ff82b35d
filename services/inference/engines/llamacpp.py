"""llama.cpp in this process, by xllamacpp: one GGUF model, its slots batched together."""

import asyncio
import os
import secrets
import sys
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib import import_module
from typing import Final, Protocol, cast

import httpx2

from services.chassis.errors import FailedPrecondition, Unavailable
from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.generation import Finished
from services.inference.domain.model import GENERATING, Capability, Model
from services.inference.domain.request import JSON, Message, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines import chat, failures
from services.inference.engines.completion import Completion, Server
from services.inference.engines.model_file import ModelFile
from services.inference.engines.outbox import Outbox
from services.inference.engines.slots import Slots
from services.inference.engines.vocabulary import Tame, control_tokens, taming

_RETRY_AFTER: Final = timedelta(seconds=1)
_TOKENIZE_SECONDS: Final = 30
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


class LlamacppEngine:
    """Serves one model. Answers `ENGINE_LOADING` until it is loaded."""

    def __init__(self, file: ModelFile, sizes: Sizes, defaults: chat.Defaults) -> None:
        self._file = file
        self._sizes = sizes
        self._defaults = defaults
        self._slots = Slots(sizes.slots, queue=sizes.queue, retry_after=_RETRY_AFTER)
        self._threads = ThreadPoolExecutor(sizes.slots, thread_name_prefix="llamacpp")
        self._loaded: _Loaded | None = None

    @property
    def active(self) -> int:
        """Slots that are busy now, those still stopping included."""
        return self._slots.active

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot now."""
        return self._slots.waiting

    async def load(self) -> None:
        """Load the model. In a thread, but xllamacpp holds the interpreter's lock for most of it.

        Raises:
            Unavailable: `ENGINE_FAILED`; the file cannot be loaded.
        """
        key = secrets.token_hex(16)
        loop = asyncio.get_running_loop()
        loader = ThreadPoolExecutor(1, initializer=_give_way)
        try:
            server, (version, tame) = await asyncio.gather(
                loop.run_in_executor(loader, _load, self._file, self._sizes, key),
                asyncio.to_thread(_read, self._file),
            )
        finally:
            loader.shutdown(wait=False)
        http = httpx2.AsyncClient(
            base_url=server.listening_address,
            headers={"authorization": f"Bearer {key}"},
            timeout=_TOKENIZE_SECONDS,
            trust_env=False,
        )
        self._loaded = loaded = _Loaded(server, http, self._model(version), tame)
        properties = await loaded.ask("GET", "/props")
        settings = cast("Mapping[str, int]", properties["default_generation_settings"])
        # A model that was trained for less has a smaller window than was asked for.
        loaded.model = replace(loaded.model, context_tokens=settings["n_ctx"])

    async def close(self) -> None:
        """Let go of the model, once every slot is idle."""
        await asyncio.to_thread(self._threads.shutdown)
        if self._loaded is not None:
            await self._loaded.http.aclose()
            self._loaded = None

    async def check(self) -> None:
        """It lives as long as this process."""

    def models(self) -> Sequence[Model]:
        """The one model."""
        return (self._ready().model,)

    async def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """As the port says."""
        loaded = self._ready()
        messages, prefix = loaded.tamed(request.messages, request.prefix)
        tamed = replace(request, messages=messages, prefix=prefix)
        body = chat.body(tamed, self._defaults, loaded.model.context_tokens)
        queue_ms = await self._slots.acquire(request.priority)
        outbox = Outbox()
        completion = Completion(outbox, is_bound=request.schema is not None)
        loop = asyncio.get_running_loop()
        running = self._threads.submit(completion.run, loaded.server, body)
        # The slot is free when the thread is, which may be after the generator is closed.
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._slots.release))
        async with aclosing(outbox.pieces(pace)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finished):
                    # Who hears of the end may ask again at once: the slot has to be free.
                    await asyncio.wait((asyncio.wrap_future(running),))
                    yield replace(piece, queue_ms=queue_ms)
                else:
                    yield piece

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """As the port says, by the model's own template."""
        loaded = self._ready()
        turns = chat.turns(*loaded.tamed(messages, prefix))
        rendered = await loaded.ask("POST", "/apply-template", {"messages": turns})
        prompt = {"content": rendered["prompt"], "add_special": True, "parse_special": True}
        tokens = (await loaded.ask("POST", "/tokenize", prompt))["tokens"]
        return len(cast("Sequence[JSON]", tokens))

    async def score(self, scoring: Scoring) -> Scored:
        """It scores nothing."""
        raise failures.unable(scoring.model, Capability.CLASSIFY)

    async def embed(self, embedding: Embedding) -> Embedded:
        """It embeds nothing."""
        raise failures.unable(embedding.model, Capability.EMBED)

    def _ready(self) -> "_Loaded":
        if self._loaded is None:
            message = f"{self._file.name} is being loaded; try again in a second"
            raise Unavailable("ENGINE_LOADING", message, model=self._file.name).after(_RETRY_AFTER)
        return self._loaded

    def _model(self, version: str) -> Model:
        return Model(
            self._file.name,
            version,
            "llamacpp",
            self._sizes.context_tokens,
            self._defaults.max_tokens,
            self._sizes.slots,
            GENERATING - {Capability.CLASSIFY},
        )


class _Loaded:
    """A loaded model: the server in this process, and its own loopback port for the rest."""

    def __init__(self, server: Server, http: httpx2.AsyncClient, model: Model, tame: Tame) -> None:
        self.server = server
        self.http = http
        self.model = model
        self._tame = tame

    def tamed(self, messages: Sequence[Message], prefix: str) -> tuple[tuple[Message, ...], str]:
        """What is said, and nothing that the model would take for the end of a turn."""
        said = tuple(replace(each, content=self._tame(each.content)) for each in messages)
        return said, self._tame(prefix)

    async def ask(
        self, method: str, path: str, body: Mapping[str, JSON] | None = None
    ) -> Mapping[str, JSON]:
        try:
            response = await self.http.request(method, path, json=body)
            response.raise_for_status()
        except httpx2.HTTPError as error:
            raise failures.engine_failed(f"{path}: {error}") from None
        return cast("Mapping[str, JSON]", response.json())


def _read(file: ModelFile) -> tuple[str, Tame]:
    try:
        return file.version(), taming(control_tokens(file.path))
    except (OSError, ValueError) as error:
        raise failures.engine_failed(f"{file.path} cannot be read: {error}") from None


def _load(file: ModelFile, sizes: Sizes, key: str) -> Server:
    try:
        xllamacpp = import_module("xllamacpp")  # Here, so that other engines need no wheel.
    except ImportError as error:
        raise FailedPrecondition(
            "ENGINE_NOT_INSTALLED",
            f"llama.cpp's wheel xllamacpp does not load ({error}): install one for this machine, "
            "or start with --engine echo (INFERENCE_ENGINE=echo)",
        ) from None
    params = xllamacpp.CommonParams()
    params.model.path = str(file.path)
    params.n_parallel = sizes.slots
    params.n_ctx = sizes.context_tokens * sizes.slots
    params.n_batch = params.n_ubatch = sizes.batch_tokens
    params.cache_ram_mib = sizes.prompt_cache_mib
    for cpu_params in (params.cpuparams, params.cpuparams_batch):
        _place(cpu_params, sizes.threads)
    params.api_keys = [key]  # The port is for this process alone.
    params.n_threads_http = 2
    params.verbosity = 0
    try:
        return cast("Server", xllamacpp.Server(params))
    except (RuntimeError, ValueError) as error:
        raise failures.engine_failed(f"{file.path} cannot be loaded: {error}") from None


def _give_way() -> None:
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
