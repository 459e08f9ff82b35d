"""How much a message may be before it is parsed, which takes fifty times its bytes. Pure."""

import re
from typing import Final

from services.tool_registry.adapters.mcp.bounds import (
    ANSWER_BYTES,
    MAX_LINES,
    MAX_VALUES,
    MESSAGE_BYTES,
    TOO_LARGE,
)

_METHOD: Final = re.compile(rb'"method":"([A-Za-z/]{1,64})"')
_LISTS: Final = frozenset(
    {b"tools/list", b"resources/list", b"resources/templates/list", b"prompts/list"}
)
# A line may end as `\r\n`, which is not two ends.
_EVENT_END: Final = re.compile(rb"(?:(?>\r\n|\n|\r)){2}")
_OVERLAP: Final = 3


def most_bytes(request: bytes) -> int:
    """Of the answer to a request: pages of lists have more."""
    found = _METHOD.search(request[:200])  # The method stands before what callers say.
    return MESSAGE_BYTES if found is not None and found[1] in _LISTS else ANSWER_BYTES


def excess(message: bytes, most: int = MESSAGE_BYTES) -> str:
    """What a message has too much of; empty if nothing."""
    if len(message) > most:
        return f"{TOO_LARGE} {most:,} bytes"
    return f"{TOO_LARGE} {MAX_VALUES:,} values" if _has_many_values(message) else ""


def _has_many_values(message: bytes) -> bool:
    if _marks(message) <= MAX_VALUES:
        return False
    # Texts have them too, and do not count: what stands between quotes is left out.
    message = message.replace(b"\\\\", b"").replace(b'\\"', b"")
    if message.count(b'"') > 4 * MAX_VALUES:  # A name and a value have two each.
        return True
    return _marks(b"".join(message.split(b'"')[::2])) > MAX_VALUES


def _marks(message: bytes) -> int:
    return sum(message.count(mark) for mark in (b",", b"[", b"{"))


class Events:
    """Cuts a stream of events where they end, so that each is judged before it is parsed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.rest = bytearray()
        """What did not end yet."""
        self._lines = 0

    def ended(self, chunk: bytes) -> list[bytes]:
        """Events that end with this chunk."""
        searched = max(len(self.rest) - _OVERLAP, 0)
        self.rest += chunk
        self._lines += _lines(chunk)
        events: list[bytes] = []
        begins = 0
        for end in _EVENT_END.finditer(self.rest, searched):
            events.append(bytes(self.rest[begins : end.end()]))
            begins = end.end()
        if events:
            del self.rest[:begins]
            self._lines = _lines(self.rest)
        return events

    def excess(self, event: bytes) -> str:
        """What an event has too much of; empty if nothing."""
        return self._many_lines(_lines(event)) or excess(event, self._most)

    @property
    def growing(self) -> str:
        """What the event that did not end yet has too much of; empty if nothing."""
        if len(self.rest) > self._most:
            return f"{TOO_LARGE} {self._most:,} bytes"
        return self._many_lines(self._lines)

    def _many_lines(self, lines: int) -> str:
        return f"{TOO_LARGE} {MAX_LINES:,} lines" if lines > MAX_LINES else ""


def _lines(text: bytes | bytearray) -> int:
    return text.count(b"\n") + text.count(b"\r")
