"""llama.cpp in this process, by xllamacpp: one GGUF model, its slots batched together."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, Protocol, TypeVar, cast

import httpx2

from services.chassis.errors import Unavailable
from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.generation import Finished
from services.inference.domain.model import GENERATING, Capability, Model
from services.inference.domain.request import Message, Priority, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines import chat, failures
from services.inference.engines.llamacpp.completion import Completion, Server
from services.inference.engines.llamacpp.loaded import Loaded
from services.inference.engines.llamacpp.model_file import ModelFile
from services.inference.engines.llamacpp.server import Sizes, give_way, started
from services.inference.engines.outbox import Outbox
from services.inference.engines.slots import Slots
from services.inference.engines.vocabulary import Tame, control_tokens, taming

_RETRY_AFTER: Final = timedelta(seconds=1)
_TOKENIZE_SECONDS: Final = 30
_APART: Final = timedelta(milliseconds=40)
"""At least, between pieces of text: on the CPUs that compute, each piece costs a twentieth of a
token."""


class Work(Protocol):
    """Something for a thread to do with the model."""

    is_closed: bool
    """Nobody waits for it any more: stop."""

    def run(self, server: Server) -> object:
        """Do it. Blocks."""


Worked = TypeVar("Worked", bound=Work)


class LlamacppEngine:
    """Serves one model. Answers `ENGINE_LOADING` until it is loaded.

    An instance either generates and scores, or makes vectors of texts.
    """

    def __init__(
        self, file: ModelFile, sizes: Sizes, defaults: chat.Defaults, *, is_embedding: bool = False
    ) -> None:
        self._file = file
        self._is_embedding = is_embedding
        self._sizes = sizes
        self._defaults = defaults
        self._slots = Slots(sizes.slots, queue=sizes.queue, retry_after=_RETRY_AFTER)
        self._threads = ThreadPoolExecutor(
            sizes.slots, thread_name_prefix="llamacpp", initializer=give_way
        )
        self._loaded: Loaded | None = None

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
        loader = ThreadPoolExecutor(1, initializer=give_way)
        try:
            server, (version, tame) = await asyncio.gather(
                loop.run_in_executor(
                    loader, started, self._file, self._sizes, key, self._is_embedding
                ),
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
        self._loaded = loaded = Loaded(server, http, self._model(version), tame)
        properties = await loaded.ask("GET", "/props")
        settings = cast("Mapping[str, int]", properties["default_generation_settings"])
        # A model that was trained for less has a smaller window than was asked for.
        window = min(settings["n_ctx"], self._sizes.context_tokens)
        loaded.model = replace(loaded.model, context_tokens=window)

    async def close(self) -> None:
        """Let go of the model, once every slot is idle."""
        await asyncio.to_thread(self._threads.shutdown)
        if (loaded := self._loaded) is not None:
            self._loaded = None
            await loaded.http.aclose()
            await asyncio.to_thread(loaded.let_go)

    async def check(self) -> None:
        """It lives as long as this process."""

    def models(self) -> Sequence[Model]:
        """The one model."""
        return (self._ready().model,)

    async def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """See `Engine`."""
        loaded = self._able(Capability.GENERATE)
        messages, prefix = loaded.tamed(request.messages, request.prefix)
        tamed = replace(request, messages=messages, prefix=prefix)
        body = chat.body(tamed, self._defaults, loaded.model.context_tokens)
        queue_ms = await self._slots.acquire(request.priority)
        outbox = Outbox(lambda: self._slots.active)
        completion = Completion(outbox, is_bound=request.schema is not None)
        running = self._submitted(completion.run, loaded.server, body)
        async with aclosing(outbox.pieces(pace and max(pace, _APART))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finished):
                    # Who hears of the end may ask again at once: the slot has to be free.
                    await asyncio.wait((asyncio.wrap_future(running),))
                    yield replace(piece, queue_ms=queue_ms)
                else:
                    yield piece

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """See `Engine`; by the model's own template."""
        return len(await self._ready().prompt_tokens(messages, prefix))

    async def score(self, scoring: Scoring) -> Scored:
        """See `Engine`. A label's tokens are scored one by one, what labels share once."""
        loaded = self._able(Capability.CLASSIFY)
        making = partial(loaded.walk, scoring)
        walk, queue_ms = await self._on_a_slot(making, loaded.server, scoring.priority)
        return Scored(walk.found, walk.usage, queue_ms)

    async def embed(self, embedding: Embedding) -> Embedded:
        """See `Engine`; by the mean of what the model makes of all tokens, or as it does."""
        loaded = self._able(Capability.EMBED)
        making = partial(loaded.vectors, embedding.inputs)
        work, queue_ms = await self._on_a_slot(making, loaded.server, embedding.priority)
        return Embedded(tuple(work.found), work.prompt_tokens, queue_ms)

    async def _on_a_slot(
        self, making: Callable[[], Awaitable[Worked]], server: Server, priority: Priority
    ) -> tuple[Worked, float]:
        """The work that was made and done, and the milliseconds it waited for a slot. Cancelling
        it closes the work."""
        queue_ms = await self._slots.acquire(priority)
        try:
            work = await making()
        except BaseException:
            self._slots.release()
            raise
        running = self._submitted(work.run, server)
        try:
            await asyncio.wrap_future(running)
        finally:
            work.is_closed = True
        return work, queue_ms

    def _submitted(self, run: Callable[..., object], *args: object) -> Future[object]:
        """Have a thread run it. The slot is free when the thread is, which may be after its caller
        has gone, and before anybody hears of its end."""
        loop = asyncio.get_running_loop()
        running = self._threads.submit(run, *args)
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._slots.release))
        return running

    def _able(self, capability: Capability) -> Loaded:
        """The model, if it can do that.

        Raises:
            InvalidArgument: `MODEL_CAPABILITY_MISSING`.
        """
        loaded = self._ready()
        if capability not in loaded.model.capabilities:
            raise failures.unable(loaded.model.name, capability)
        return loaded

    def _ready(self) -> Loaded:
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
            frozenset({Capability.EMBED}) if self._is_embedding else GENERATING,
        )


def _read(file: ModelFile) -> tuple[str, Tame]:
    try:
        return file.version(), taming(control_tokens(file.path))
    except (OSError, ValueError) as error:
        raise failures.engine_failed(f"{file.path} cannot be read: {error}") from None
