"""Values too large for the log: what stands for them there, and how their text is read in parts."""

import codecs
import json
from dataclasses import dataclass
from typing import Final

EXCERPT_CHARACTERS: Final = 4000
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
_LONGEST_CHARACTER: Final = 4  # Bytes, in UTF-8.


@dataclass(frozen=True, slots=True)
class Large:
    """Stands for a tool's output, an answer or a text of the request that is kept elsewhere."""

    sha256: str
    size_bytes: int
    media_type: str
    excerpt: str
    """Its beginning, at most `EXCERPT_CHARACTERS`; empty where the request has it."""


LargeTexts = tuple[tuple[str, Large], ...]
"""What stands for the large texts of a request; each under its name, `query` or `messages[N]`."""


@dataclass(frozen=True, slots=True)
class Part:
    """Whole characters of a text."""

    offset: int
    """Of its first byte, in the whole text's UTF-8."""
    text: str
    size_bytes: int

    @property
    def next_offset(self) -> int | None:
        """Where to read on; None at the end."""
        end = self.offset + len(self.text.encode())
        return end if end < self.size_bytes else None


def bytes_for(length: int) -> int:
    """How many bytes to read for a part of this length: a character more, at either end."""
    return length + 2 * (_LONGEST_CHARACTER - 1)


def part(body: bytes, offset: int, length: int, size_bytes: int) -> Part:
    """Whole characters of at most `length` bytes, and at least one character: of `body`, which is
    what `bytes_for` says from `offset` on. An offset within a character counts as the next one's.
    """
    start = 0
    while start < min(len(body), _LONGEST_CHARACTER - 1) and body[start] & 0xC0 == 0x80:
        start += 1
    end = start + max(length, _LONGEST_CHARACTER)
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(body[start:end])
    return Part(offset + start, text, size_bytes)


def fitting(text: str, most: int) -> str:
    """As much of a text as takes at most so many characters as JSON."""
    while (takes := len(json.dumps(text, ensure_ascii=False))) > most:
        text = text[: len(text) * most // takes]
    return text
