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
from services.inference.domain.request import JSON, Message, Priority, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines import chat, failures
from services.inference.engines.llamacpp.completion import Completion, Server
from services.inference.engines.llamacpp.label_tokens import LabelTokens
from services.inference.engines.llamacpp.model_file import ModelFile
from services.inference.engines.llamacpp.server import Sizes, give_way, started
from services.inference.engines.llamacpp.vectors import Vectors
from services.inference.engines.llamacpp.walk import Walk
from services.inference.engines.outbox import Outbox
from services.inference.engines.slots import Slots
from services.inference.engines.vocabulary import Tame, control_tokens, taming

_RETRY_AFTER: Final = timedelta(seconds=1)
_TOKENIZE_SECONDS: Final = 30
_ADDED_TOKENS: Final = 3  # Those that begin and end a text, and a space before it.


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
        self._loaded = loaded = _Loaded(server, http, self._model(version), tame)
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
        outbox = Outbox()
        completion = Completion(outbox, is_bound=request.schema is not None)
        running = self._submitted(completion.run, loaded.server, body)
        async with aclosing(outbox.pieces(pace)) as pieces:
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

    def _able(self, capability: Capability) -> "_Loaded":
        """The model, if it can do that.

        Raises:
            InvalidArgument: `MODEL_CAPABILITY_MISSING`.
        """
        loaded = self._ready()
        if capability not in loaded.model.capabilities:
            raise failures.unable(loaded.model.name, capability)
        return loaded

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
            frozenset({Capability.EMBED}) if self._is_embedding else GENERATING,
        )


class _Measured(Protocol):
    def handle_metrics(self) -> object:
        """Figures, once the thread that computes gets to it."""


class _Loaded:
    """A loaded model: the server in this process, and its own loopback port for the rest."""

    def __init__(self, server: Server, http: httpx2.AsyncClient, model: Model, tame: Tame) -> None:
        self.server = server
        self.http = http
        self.model = model
        self.labels = LabelTokens(self)
        self._tame = tame

    def let_go(self) -> None:
        """Free the model's memory and end its threads now: what refers to this may live on.

        A server that is told to stop before its thread has begun to work never hears of it, and
        waits for it with the interpreter's lock in its hands. So it is asked for something first.
        """
        cast("_Measured", self.server).handle_metrics()
        del self.server

    def tamed(self, messages: Sequence[Message], prefix: str) -> tuple[tuple[Message, ...], str]:
        """What is said, and nothing that the model would take for the end of a turn."""
        said = tuple(replace(each, content=self._tame(each.content)) for each in messages)
        return said, self._tame(prefix)

    async def rendered(self, messages: Sequence[Message], prefix: str = "") -> str:
        """The prompt that the model's own template makes of them."""
        asked: Mapping[str, JSON] = {"messages": chat.turns(messages, prefix)}
        return cast("str", (await self.ask("POST", "/apply-template", asked))["prompt"])

    async def tokens(self, text: str, *, is_whole: bool = False) -> list[int]:
        """A text's tokens; of a whole prompt, with those that begin one."""
        asked: Mapping[str, JSON] = {
            "content": text,
            "add_special": is_whole,
            "parse_special": True,
        }
        return cast("list[int]", (await self.ask("POST", "/tokenize", asked))["tokens"])

    async def prompt_tokens(self, messages: Sequence[Message], prefix: str) -> list[int]:
        """The tokens of the prompt that they make, tamed."""
        rendered = await self.rendered(*self.tamed(messages, prefix))
        return await self.tokens(rendered, is_whole=True)

    async def walk(self, scoring: Scoring) -> Walk:
        """What scores labels.

        Raises:
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`; prompt and longest label leave no room.
        """
        messages, _ = self.tamed(scoring.messages, "")
        labels = [self._tame(each) for each in scoring.labels]
        return await self.labels.walk(messages, labels, self.model.context_tokens)

    async def vectors(self, inputs: Sequence[str]) -> Vectors:
        """What makes vectors of texts.

        Raises:
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`; one has more tokens than the model takes.
        """
        window = self.model.context_tokens
        sized: list[tuple[str, int]] = []
        for index, text in enumerate(map(self._tame, inputs)):
            size = len(text.encode()) + _ADDED_TOKENS  # A token has a byte at least.
            if size > window:
                size = len(await self.tokens(text, is_whole=True))
            if size > window:
                raise failures.text_exceeds(f"inputs[{index}]", size, window)
            sized.append((text, size))
        return Vectors(sized, most=window)

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
