"""Large values of tasks, on an object store: put there before the log refers to them."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.errors import (
    FailedPrecondition,
    Internal,
    ResourceExhausted,
    ServiceError,
)
from services.chassis.objectstore.port import ObjectStore, Reference, reference_to
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import request as rq
from services.orchestrator.domain.failures import failure
from services.orchestrator.domain.large import EXCERPT_CHARACTERS, JSON, TEXT, Large, LargeTexts

log = logging.getLogger(__name__)

_MOST_BYTES_PER_CHARACTER: Final = 4


class Values:
    """Keeps tools' outputs and answers of more than `inline_bytes`; the others stay in the log.

    Without a store such outputs are refused, and answers stay in the log: a turn's are bounded.
    """

    def __init__(self, store: ObjectStore | None = None, inline_bytes: int = 64 * 1024) -> None:
        self._store = store
        self._inline_bytes = inline_bytes

    async def kept(self, tenant: str, events: Sequence[ev.Event]) -> Sequence[ev.Event]:
        """The events as the log is to have them. A store that is away becomes a fact of the log."""
        kept: list[ev.Event] = []
        for event in events:
            if isinstance(event, ev.ToolReturned) and event.failure is None:
                returned = await self._returned(tenant, event)
                kept += await self._with_content(tenant, returned)
            elif isinstance(event, ev.Answered):
                kept += await self._answered(tenant, event)
            else:
                kept.append(event)
        return kept

    def shortened(self, request: rq.Request) -> tuple[rq.Request, LargeTexts]:
        """The request with the beginnings of its large texts, and what stands for each."""
        if self._store is None:
            return request, ()
        large = {name: text for name, text in rq.texts(request) if self._is_large(text)}
        if not large:
            return request, ()
        shown = [
            text[:EXCERPT_CHARACTERS] if name in large else text for name, text in rq.texts(request)
        ]
        stand_in = tuple((name, _stand_in(text)) for name, text in large.items())
        return _with(request, shown), stand_in

    async def keep(self, tenant: str, request: rq.Request, large: LargeTexts) -> None:
        """Keep the whole of a request's large texts."""
        if self._store is None or not large:
            return
        names = dict(large)
        for name, text in rq.texts(request):
            if name in names:
                await self._store.put(tenant, text.encode())

    async def get(self, tenant: str, large: Large, *, offset: int, length: int) -> bytes:
        """A part of a value that is kept."""
        if self._store is None:
            raise FailedPrecondition(
                "OBJECT_STORE_MISSING",
                "the log refers to an object store, and the orchestrator has none",
                suggested_fix="set RUNPLANE_OBJECT_STORE to the one it had",
            )
        reference = Reference(large.sha256, large.size_bytes)
        return await self._store.get(tenant, reference, offset=offset, length=length)

    async def _returned(self, tenant: str, event: ev.ToolReturned) -> ev.ToolReturned:
        """A result that cannot be kept is a call that failed: the agent is told, and goes on."""
        try:
            text = json.dumps(event.output, ensure_ascii=False, allow_nan=False)
            if not self._is_large(text):
                return event
            if self._store is None:
                raise self._no_room(text)
            return replace(event, output=await _put(self._store, tenant, text, JSON))
        except ServiceError as error:
            return unkept(event, error)
        except (TypeError, ValueError, RecursionError):  # A fault of ours; no reason to end a task.
            log.exception("result is no JSON", extra={"tool": event.tool})
            return unkept(event, Internal("INTERNAL", "it is no JSON"))

    async def _with_content(self, tenant: str, event: ev.ToolReturned) -> Sequence[ev.Event]:
        """Content that cannot be kept is left out: the output says the most of it."""
        if not event.content or isinstance(event.content, Large):
            return [event]
        text = json.dumps(event.content, ensure_ascii=False)
        if not self._is_large(text):
            return [event]
        try:
            if self._store is None:
                raise self._no_room(text)
            large = await _put(self._store, tenant, text, JSON)
        except ServiceError as error:
            why = f"content of a result of {event.tool} is left out: {error.message}"
            warned = ev.Warned(event.time, "TOOL_CONTENT_DROPPED", why)
            return [warned, replace(event, content=())]
        return [replace(event, content=replace(large, excerpt=""))]

    async def _answered(self, tenant: str, event: ev.Answered) -> Sequence[ev.Event]:
        """An answer that cannot be kept elsewhere stays in the log, which then says so."""
        if self._store is None or not self._is_large(event.answer):
            return [event]
        kind = TEXT if event.output is None else JSON
        try:
            large = await _put(self._store, tenant, event.answer, kind)
        except ServiceError as error:
            message = f"the answer stays in the task's log: {error.message}"
            return [ev.Warned(event.time, error.reason, message), event]
        return [replace(event, answer=large.excerpt, output=large)]

    def _is_large(self, text: str) -> bool:
        if len(text) * _MOST_BYTES_PER_CHARACTER <= self._inline_bytes:
            return False
        return len(text.encode()) > self._inline_bytes

    def _no_room(self, text: str) -> ResourceExhausted:
        size_bytes = len(text.encode())
        return ResourceExhausted(
            "TOOL_RESULT_TOO_LARGE",
            f"it has {size_bytes} bytes, and without an object store a task takes "
            f"{self._inline_bytes}",
            size_bytes=str(size_bytes),
            limit_bytes=str(self._inline_bytes),
            suggested_fix="ask for less at a time, or have RUNPLANE_OBJECT_STORE name a store",
        )


def unkept(event: ev.ToolReturned, error: ServiceError) -> ev.ToolReturned:
    """A result that cannot be kept, as the call that failed."""
    message = f"{event.tool} did its work, but its result cannot be kept: {error.message}"
    fix = "ask for less at a time"
    fault = replace(failure(error), message=message, suggested_fix=fix)
    return replace(event, output=None, failure=fault, content=())


async def _put(store: ObjectStore, tenant: str, text: str, media_type: str) -> Large:
    reference = await store.put(tenant, text.encode())
    return Large(reference.sha256, reference.size_bytes, media_type, text[:EXCERPT_CHARACTERS])


def _stand_in(text: str) -> Large:
    """What stands for a text whose beginning the request has."""
    reference = reference_to(text.encode())
    return Large(reference.sha256, reference.size_bytes, TEXT, "")


def _with(request: rq.Request, texts: Sequence[str]) -> rq.Request:
    """The request with other texts, in the order of `texts`; as it goes into the log, too."""
    message = pb.InvokeRequest.FromString(request.source)
    message.query = texts[0]
    for said, text in zip(message.messages, texts[1:], strict=True):
        said.content = text
    return replace(
        request,
        query=texts[0],
        messages=[ev.Message(said.role, said.content) for said in message.messages],
        source=message.SerializeToString(),
    )
