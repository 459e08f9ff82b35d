"""One entry as this process holds it: loaded when it is wanted, unloaded when it is not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeAlias

from services.chassis.errors import (
    FailedPrecondition,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.inference.counted import Counted
from services.inference.domain.entry import NO_FACTS, Entry, Listed, State, Wanted
from services.inference.ports import Built, Serving

log = logging.getLogger(__name__)

_LOAD_SECONDS: Final = 900.0
_RETRY_AFTER: Final = timedelta(seconds=1)


@dataclass(slots=True)
class Room:
    """How many models may be loaded beside the settings' own, one after another."""

    most: int
    loading: asyncio.Lock
    loaded: int = 0

    def turn(self, entry: Entry) -> AbstractAsyncContextManager[object]:
        """When it may be loaded: one after another, unless it is not here that it takes time."""
        return nullcontext() if entry.is_free_to_load else self.loading

    def take(self, entry: Entry) -> None:
        """Have one more, unless it is somewhere else.

        Raises:
            ResourceExhausted: `TOO_MANY_MODELS_LOADED`.
        """
        if entry.is_free_to_load:
            return
        if self.loaded >= self.most:
            raise ResourceExhausted(
                "TOO_MANY_MODELS_LOADED",
                f"this process has {self.loaded} models loaded, the most it may have",
                limit=str(self.most),
                suggested_fix="unload one first, or raise INFERENCE_CATALOGUE__MOST_LOADED",
            )
        self.loaded += 1

    def give_back(self, entry: Entry) -> None:
        """Have it no more."""
        self.loaded -= not entry.is_free_to_load


Build: TypeAlias = Callable[[Entry], Awaitable[Built]]
Spawn: TypeAlias = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]


class Held:
    """Follows what is wanted of one entry."""

    def __init__(self, wanted: Wanted, build: Build, room: Room, spawn: Spawn) -> None:
        self.wanted = wanted
        self.state = State.UNLOADED
        self.failure: ServiceError | None = None
        self.serving: Serving | None = None
        """While it can be asked."""
        self.has_failed = False
        """Whether it could not be loaded, until it is, or something else is wanted: also while it
        is tried again."""
        self._facts = NO_FACTS
        self._build = build
        self._room = room
        self._spawn = spawn
        self._loaded: tuple[Entry, Counted] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def entry(self) -> Entry:
        """The entry as it is to be."""
        return self.wanted.entry

    @property
    def engine(self) -> Counted | None:
        """What runs it now."""
        return self._loaded[1] if self._loaded is not None else None

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing of it is here, or on its way."""
        return self._loaded is None and not self._is_busy

    def listed(self) -> Listed:
        """What can be seen of it."""
        model = self.serving.model if self.serving is not None else None
        return Listed(
            self.entry, self.state, self.wanted.is_wanted, model, self.failure, self._facts
        )

    def follow(self, wanted: Wanted) -> None:
        """Do what is wanted from now on."""
        if wanted != self.wanted:
            # Whatever it was, it may be over: somebody has said something.
            self.failure, self.has_failed = None, False
        self.wanted = wanted
        if self.serving is not None and not self._is_stale:
            model = self.serving.model
            self.serving = replace(self.serving, model=model, price=self.entry.price)
        if not self._is_busy:
            self._task = self._spawn(self._converge())

    def again(self) -> None:
        """Try once more what failed because something else was away."""
        is_away = isinstance(self.failure, Unavailable) and self.entry.is_free_to_load
        if is_away and self.wanted.is_wanted and not self._is_busy:
            self.failure = None
            self._task = self._spawn(self._converge())

    async def settled(self) -> None:
        """Wait until it is what is wanted, or has failed."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Let go of it, whatever is wanted."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._unload()

    def ask(self) -> Serving:
        """What answers requests.

        Raises:
            Unavailable: `ENGINE_LOADING`.
            FailedPrecondition: `MODEL_NOT_LOADED`.
        """
        if self.serving is not None:
            return self.serving
        if self.state is State.LOADING or self._is_to_load:
            message = f"{self.entry.name} is being loaded; try again in a second"
            raise Unavailable("ENGINE_LOADING", message, model=self.entry.name).after(_RETRY_AFTER)
        raise _not_loaded(self.entry.name, self.failure)

    @property
    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def _is_stale(self) -> bool:
        return self._loaded is not None and not self.entry.runs_as(self._loaded[0])

    @property
    def _is_to_load(self) -> bool:
        return self.wanted.is_wanted and self.failure is None and self._loaded is None

    async def _converge(self) -> None:
        while True:
            if self._loaded is not None and (not self.wanted.is_wanted or self._is_stale):
                await self._unload()
            elif self._is_to_load:
                await self._load()
            else:
                if self._loaded is None:
                    is_failed = self.wanted.is_wanted and self.failure is not None
                    self.state = State.FAILED if is_failed else State.UNLOADED
                return

    async def _load(self) -> None:
        entry, self.state = self.entry, State.LOADING
        try:
            async with self._room.turn(entry), asyncio.timeout(_LOAD_SECONDS):
                await self._load_now(entry)
        except TimeoutError:
            message = f"{entry.name} was not loaded within {_LOAD_SECONDS:g} s"
            self._failed(Unavailable("ENGINE_FAILED", message, model=entry.name))
        except ServiceError as error:
            self._failed(error)
        except Exception as error:
            log.exception("a model cannot be loaded", extra={"model": entry.name})
            self._failed(_broken(entry.name, error))

    async def _load_now(self, entry: Entry) -> None:
        self._room.take(entry)
        engine: Counted | None = None
        try:
            built = await self._build(entry)
            engine = Counted(built.engine, entry.name)
            try:
                await engine.load()
            except ServiceError as error:
                raise built.explained(error) from None
            model = engine.models()[0]
        except BaseException:
            self._room.give_back(entry)
            if engine is not None:
                await engine.close()
            raise
        self._loaded, self._facts = (entry, engine), built.facts
        self.serving, self.state = Serving(model, engine, entry.price), State.READY
        self.has_failed = False
        log.info("model loaded", extra={"model": entry.name, "engine": entry.engine})

    def _failed(self, error: ServiceError) -> None:
        self.failure = error.with_traceback(None)  # Its frames hold what is long over.
        error.__context__ = None  # And so do those of what it was made of.
        self.has_failed = True
        facts = {"model": self.entry.name, "error_code": error.reason}
        log.warning("model cannot be loaded", extra=facts)

    async def _unload(self) -> None:
        if self._loaded is None:
            return
        self.serving, self.state = None, State.UNLOADING
        entry, engine = self._loaded
        await engine.close()
        self._loaded = None
        self._room.give_back(entry)
        self.state = State.UNLOADED
        log.info("model unloaded", extra={"model": entry.name})


def _broken(name: str, error: Exception) -> Unavailable:
    message = f"{name} cannot be loaded: {type(error).__name__}"
    return Unavailable("ENGINE_FAILED", message, model=name)


def _not_loaded(name: str, failure: ServiceError | None) -> FailedPrecondition:
    why = f": {failure.message}" if failure is not None else ""
    fix = failure.metadata.get("suggested_fix", "") if failure is not None else ""
    load = f"load it: POST /v1/models/{name}:load, or runplane models load {name}"
    return FailedPrecondition(
        "MODEL_NOT_LOADED",
        f"{name} is not loaded{why}",
        model=name,
        field="model",
        suggested_fix=f"{fix}; then {load}" if fix else load,
        **({"cause": failure.reason} if failure is not None else {}),
    )
