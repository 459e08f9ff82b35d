"""How a stream's messages look on the wire: server-sent events, or one JSON text a line."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.chassis.errors import InvalidArgument

Piece = tuple[str, int | None, str]
"""A message: its type, its sequence if its kind has one, and its JSON, which has no line breaks."""


@dataclass(frozen=True, slots=True)
class Framing:
    """One way to put messages into a body."""

    media_type: bytes
    message: Callable[[Piece], bytes]
    error: Callable[[bytes], bytes]
    heartbeat: bytes
    """What says on an idle stream that it lives; empty where nothing can."""


def _event(piece: Piece) -> bytes:
    kind, sequence, text = piece
    if not kind.isidentifier():
        return f"data: {text}\n\n".encode()
    if sequence is None:  # Nothing to resume by.
        return f"event: {kind}\ndata: {text}\n\n".encode()
    return f"event: {kind}\nid: {sequence}\ndata: {text}\n\n".encode()


def _line(piece: Piece) -> bytes:
    return f"{piece[2]}\n".encode()


SSE: Final = Framing(
    media_type=b"text/event-stream",
    message=_event,
    error=lambda body: b"event: error\ndata: " + body + b"\n\n",
    heartbeat=b": heartbeat\n\n",
)
NDJSON: Final = Framing(
    media_type=b"application/x-ndjson",
    message=_line,
    error=lambda body: body + b"\n",
    heartbeat=b"",
)
_OFFERED: Final = (
    (frozenset({"*/*", "text/*", "text/event-stream"}), SSE),
    (frozenset({"application/*", "application/x-ndjson"}), NDJSON),
)
_JSON: Final = (frozenset({"application/json"}), NDJSON)
"""Taken where nothing else is: who says so with everything, as `curl --json` does, can read
lines of JSON."""


@lru_cache(maxsize=256)
def framing(accept: str) -> Framing:
    """The framing that an `Accept` header asks for; nothing or `*/*` means server-sent events, and
    JSON alone means lines of it.

    Raises:
        InvalidArgument: `NOT_ACCEPTABLE`.
    """
    if not accept:
        return SSE
    wanted = sorted(map(_weighed, accept.split(",")), key=lambda each: -each[1])
    for forms in (_OFFERED, (_JSON,)):
        for media, weight in wanted:
            for names, offered in forms:
                if weight > 0 and media in names:
                    return offered
    raise InvalidArgument(
        "NOT_ACCEPTABLE",
        "this route streams, and Accept takes no form of a stream",
        field="accept",
        suggested_fix="send Accept: text/event-stream or application/x-ndjson",
    )


def _weighed(media: str) -> tuple[str, float]:
    name, *parameters = media.split(";")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    return name.strip().lower(), weight
