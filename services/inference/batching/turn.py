"""One item of a batch on its way to an outcome: tried, interrupted, gone on with, or stopped."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.chassis.errors import InvalidArgument, ResourceExhausted, ServiceError, Unavailable
from services.inference.batching.gate import Gate, Seat
from services.inference.batching.ports import BatchLog
from services.inference.domain.batch import Failure, Item, ItemState, Outcome, Spec
from services.inference.domain.generation import Complete, Usage
from services.inference.domain.request import Request
from services.inference.usecases.inference import Inference

log = logging.getLogger(__name__)

ATTEMPTS: Final = 3
BACKOFF_SECONDS: Final = 0.4
MAX_TEXT_BYTES: Final = 1024 * 1024
MAX_LOSSES: Final = 3
"""How often an item may lose all that it has said before it keeps its seat to the end."""
NOT_NOW: Final = frozenset({"ENGINE_OVERLOADED", "ENGINE_LOADING", "MODEL_NOT_LOADED"})
"""What says nothing of an item: it waits, and that is no attempt."""


@dataclass(frozen=True, slots=True)
class World:
    """What batches run with."""

    log: BatchLog
    inference: Inference
    gate: Gate
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class _Progress:
    """What was said before the seat was taken back."""

    text: str = ""
    prompt_tokens: int = 0
    tokens: int = 0


class Turn:
    """Runs in a seat that it is given, and in others after that one."""

    def __init__(self, world: World, spec: Spec, item: Item, index: int, seat: Seat) -> None:
        self._world = world
        self._spec = spec
        self._item = item
        self._index = index
        self._seat: Seat | None = seat
        self._scope: asyncio.Timeout | None = None
        self._stopped: ItemState | None = None
        self._progress = _Progress()
        self._said: list[str] = []
        self._losses = 0
        self._failures = 0
        self._is_trying = False

    def stop(self, state: ItemState) -> None:
        """End it as it stands."""
        self._stopped = state
        _expire(self._scope)

    def close(self) -> None:
        """Leave the seat, however it ended."""
        if self._seat is not None:
            seat, self._seat = self._seat, None
            self._world.gate.leave(seat)

    async def run(self) -> Outcome:
        """How it ended."""
        try:
            async with asyncio.timeout(None) as self._scope:
                if self._stopped is not None:
                    _expire(self._scope)
                return await self._run()
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise
        return await self._cut_short(self._stopped or ItemState.CANCELED)

    @property
    def _attempts(self) -> int:
        """Those that failed, and the one under way. One that was interrupted is none."""
        return self._failures + self._is_trying

    async def _run(self) -> Outcome:
        while True:
            try:
                async with asyncio.timeout(None) as lent:
                    if self._seat is not None:
                        self._seat.bind(lent)
                    return await self._tried()
            except TimeoutError:
                if not lent.expired():
                    raise
            try:
                await self._seated_again()
            except ServiceError as error:  # Its model is gone.
                return self._failed(_failure(error))

    async def _tried(self) -> Outcome:
        while True:
            self._is_trying = True
            try:
                return await self._generated()
            except ServiceError as error:
                self._is_trying = False
                if error.reason not in NOT_NOW:
                    self._failures += 1
                    if self._failures >= ATTEMPTS or not _is_passing(error):
                        return self._failed(_failure(error))
                await _backoff(max(self._failures, 1), error)
            except Exception:
                log.exception("item failed", extra={"batch_id": self._spec.batch_id})
                return self._failed(Failure("INTERNAL", "INTERNAL", "internal error"))

    async def _generated(self) -> Outcome:
        self._said.clear()
        size = len(self._progress.text.encode())
        generating = self._world.inference.stream(self._spec.tenant, self._request())
        async with aclosing(generating) as pieces:
            async for piece in pieces:
                text = piece.finished.text if isinstance(piece, Complete) else piece.text
                if (size := size + len(text.encode())) > MAX_TEXT_BYTES:
                    raise _too_large()
                self._said.append(text)
                if isinstance(piece, Complete):
                    return self._completed(piece)
        raise AssertionError("a generation ended without its last piece")

    def _request(self) -> Request:
        """What is asked for, or the rest of it."""
        asked, so_far = self._item.request, self._progress
        if not so_far.text or self._seat is None:
            return asked
        model = self._seat.serving.model
        left = (asked.sampling.max_tokens or model.default_max_tokens) - so_far.tokens
        sampling = replace(asked.sampling, max_tokens=max(1, left))
        return replace(asked, prefix=asked.prefix + so_far.text, sampling=sampling)

    async def _seated_again(self) -> None:
        """Give way, and wait for another seat, before all items that have not begun."""
        self._is_trying = False
        asked, seat = self._item.request, self._seat
        goes_on = asked.schema is None and not asked.sampling.stop
        if goes_on and seat is not None and seat.serving.model.can_continue:
            self._progress = _Progress(self._progress.text + "".join(self._said))
        else:
            self._losses += 1
        self._said.clear()
        self.close()
        self._seat = await self._world.gate.seat(
            self._spec.tenant,
            asked.model,
            is_first=True,
            is_firm=self._losses >= MAX_LOSSES,
        )
        await self._count()

    async def _count(self) -> None:
        """Know how much was said; now, for others needed the engine when the seat was given up."""
        if not self._progress.text or self._seat is None:
            return
        try:
            self._progress = await self._counted(self._seat)
        except ServiceError:
            self._progress = _Progress()
            self._losses += 1

    async def _counted(self, seat: Seat) -> _Progress:
        text = self._progress.text + "".join(self._said)
        asked, (model, engine) = self._item.request, (seat.serving.model, seat.serving.engine)
        prompt = await engine.count_tokens(model.name, asked.messages, asked.prefix)
        whole = await engine.count_tokens(model.name, asked.messages, asked.prefix + text)
        return _Progress(text, prompt, max(0, whole - prompt))

    async def _cut_short(self, state: ItemState) -> Outcome:
        text = self._progress.text + "".join(self._said)
        stopped = Outcome(self._index, state, self._attempts, text)
        if not text or self._seat is None:
            return stopped
        model = self._seat.serving.model
        try:
            used = await self._counted(self._seat)
        except ServiceError:
            return stopped
        usage = Usage(used.prompt_tokens, used.tokens)
        return replace(
            stopped,
            usage=usage,
            cost_usd=self._cost(usage),
            model=model.name,
            model_version=model.version,
        )

    def _completed(self, end: Complete) -> Outcome:
        so_far, used = self._progress, end.finished.usage
        if so_far.text:
            prompt = so_far.prompt_tokens
            cached = min(used.cached_tokens, prompt)
            used = Usage(prompt, used.completion_tokens + so_far.tokens, cached)
        return Outcome(
            self._index,
            ItemState.COMPLETED,
            self._attempts,
            text=so_far.text + "".join(self._said),
            finish_reason=end.finished.reason,
            usage=used,
            cost_usd=self._cost(used),
            metrics=end.metrics,
            model=end.model.name,
            model_version=end.model.version,
        )

    def _failed(self, failure: Failure) -> Outcome:
        return Outcome(self._index, ItemState.FAILED, self._attempts, failure=failure)

    def _cost(self, used: Usage) -> float:
        input_usd, output_usd = self._seat.serving.price if self._seat is not None else (0.0, 0.0)
        return (used.prompt_tokens * input_usd + used.completion_tokens * output_usd) / 1e6


def failed(index: int, error: ServiceError) -> Outcome:
    """The end of an item that never ran."""
    return Outcome(index, ItemState.FAILED, 0, failure=_failure(error))


def _failure(error: ServiceError) -> Failure:
    fix = error.metadata.get("suggested_fix", "")
    return Failure(error.code, error.reason, error.message, fix)


def _is_passing(error: ServiceError) -> bool:
    """Whether the same call may do better soon (product.md 9)."""
    if isinstance(error, Unavailable):
        return True
    return isinstance(error, ResourceExhausted) and error.retry_after is not None


async def _backoff(attempt: int, error: ServiceError) -> None:
    asked = error.retry_after.total_seconds() if error.retry_after else 0.0
    jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing
    await asyncio.sleep(max(asked, BACKOFF_SECONDS * 2 ** (attempt - 1) * jitter))


def _too_large() -> InvalidArgument:
    return InvalidArgument(
        "RESULT_TOO_LARGE",
        f"the model said more than the {MAX_TEXT_BYTES} bytes that an item keeps",
        limit_bytes=str(MAX_TEXT_BYTES),
        suggested_fix="send a smaller sampling.max_tokens",
    )


def _expire(scope: asyncio.Timeout | None) -> None:
    if scope is not None and not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time())
