"""What a server may take of this process."""

import secrets
from dataclasses import dataclass
from typing import Final

MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""Of a list's page, and of all that comes in answer to one request."""
ANSWER_BYTES: Final = 4 * 1024 * 1024 + 64 * 1024
"""Of any other message. What tools answer is bounded again by its caller, and servers say it twice:
structured and as a text."""
MAX_VALUES: Final = 100_000
"""Of a message. Of a byte or two each, they would take fifty times that, and a tenth of a second of
the loop, which the SDK parses in."""
MAX_LINES: Final = 20_000
"""Of an event."""
MAX_PIECES: Final = 20_000
"""Of an answer. So many of a byte each keep the processor for a second."""
MESSAGES_A_SECOND: Final = 1000
"""Of a program, or of a stream. More would take a processor of their own."""
LARGE_AT_ONCE: Final = 8
"""Answers that this process reads beyond their first 64 KiB at a time."""
LARGE_OF_ONE: Final = 2
"""And of those of one server."""
MAX_ITEMS: Final = 1000
"""Of a list."""
MAX_FAULTS: Final = 50
"""Items of a list's page that are none, before the rest is not looked at."""
MAX_PAGES: Final = 100
ITEM_BYTES: Final = 16 * 1024
"""Of a resource, a template or a prompt in a list."""
NOTES: Final = 20
TEXT: Final = 1000
"""Characters of a text by a server that errors, progress and logs show."""

CONNECT_SECONDS: Final = 30.0
LISTS_SECONDS: Final = 120.0
NOTE_SECONDS: Final = 5.0
"""For a notification to be taken, and for a session to be ended."""
LISTEN_SECONDS: Final = 3600.0

TTL_MOST: Final = 3600.0
TTL_UNSAID: Final = 300.0
RESTLESS_MOST: Final = 60.0
BACKOFF_LEAST: Final = 0.5
BACKOFF_MOST: Final = 60.0
MAX_LINKS: Final = 4096
"""Of one process."""

TOO_LARGE: Final = f"too large {secrets.token_hex(16)}"
"""What is said to the SDK, which hands on texts only, of an answer that was not read to its end.
No server can say it: `dispatch` makes `AnswerTooLarge` of it."""


def cut(text: str, most: int = TEXT) -> str:
    """As much of a text as is shown."""
    return text if len(text) <= most else f"{text[:most]}…"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things take, and how often they are done, where tests have less time."""

    discover_seconds: float = 10.0
    request_seconds: float = 20.0
    """For a page of a list, and whatever says nothing else."""
    ttl_least: float = 5.0
    """How long lists are good at least, in seconds, whatever their server says."""
    look_seconds: float = 10.0
    """How often a process looks which servers its tenants have."""
    sweep_seconds: float = 600.0
    """How often it looks for tools of servers that are there no more."""
