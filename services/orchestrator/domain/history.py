"""What a model is shown of the turns before, and how much of it fits. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, takewhile
from typing import Final

from services.orchestrator.domain.events import Message
from services.orchestrator.domain.prompt import MARGIN_BYTES
from services.orchestrator.domain.session import SUMMARY_CHARACTERS, Exchange, Summary

LEAST_CHARACTERS: Final = 1_000
MOST_CHARACTERS: Final = 64 * 1024
LEAST_SHOWN: Final = 64
FULL: Final = 0.75  # Of the room: it is time for a summary, before turns are left out.
NOTES: Final = "Notes of our conversation before: "
_CLERK: Final = """\
You keep the notes of a conversation. Write down in at most 100 words what is needed to go on with \
it: who the user is, facts, numbers, decisions, open questions. Write only the notes."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A turn as the model is shown it."""

    sequence: int
    messages: Sequence[Message]
    bytes: int


def shown(exchange: Exchange, characters: int) -> Shown:
    """A turn with so much of each message."""
    said = [Message(line.role, shortened(line.content, characters)) for line in exchange.lines]
    return Shown(exchange.sequence, said, size(said))


@dataclass(frozen=True, slots=True)
class Past:
    """What can be shown: a summary, and the turns after it, the oldest first."""

    turns: Sequence[Shown]
    summary: Summary | None
    is_whole: bool = True
    """Whether these are all turns that the summary does not cover."""

    def messages(self, newest: int, *, has_summary: bool = True) -> list[Message]:
        """As the model is shown them, so many turns."""
        said = chain.from_iterable(each.messages for each in self._newest(newest))
        return [*(self._notes if has_summary else ()), *said]

    def within(self, most_bytes: float) -> int:
        """How many turns fit by their bytes alone, the newest first; -1: the summary does not."""
        return self._fitting(size(self._notes), most_bytes)

    def due(self, newest: int) -> int:
        """The turn, by its sequence, up to which a summary leaves half of what is shown."""
        half = sum(each.bytes for each in self._newest(newest)) / 2
        return self.turns[len(self.turns) - self._fitting(0, half) - 1].sequence

    def newest(self, most_bytes: float) -> "Past":
        """The same without the oldest turns, where there is more than this."""
        kept = self._fitting(0, most_bytes)
        if kept == len(self.turns):
            return self
        return replace(self, turns=self._newest(kept), is_whole=False)

    def _newest(self, count: int) -> Sequence[Shown]:
        return self.turns[len(self.turns) - count :]

    def _fitting(self, taken: int, most_bytes: float) -> int:
        sizes = (each.bytes for each in reversed(self.turns))
        fits = takewhile(lambda total: total <= most_bytes, accumulate(sizes, initial=taken))
        return sum(1 for _ in fits) - 1

    @property
    def _notes(self) -> list[Message]:
        return [Message("user", NOTES + self.summary.text)] if self.summary else []


def size(messages: Sequence[Message]) -> int:
    """A token is at least a byte; what a template adds is within the margin."""
    return sum(len(each.content.encode()) + MARGIN_BYTES for each in messages)


def shortened(text: str, characters: int) -> str:
    """As much of a message as is shown."""
    if len(text) <= characters:
        return text
    return f"{text[:characters]} … ({len(text) - characters} characters left out)"


def most_characters(context_tokens: int) -> int:
    """How much of one message is shown: no message is to take the place of all others."""
    return min(max(LEAST_CHARACTERS, context_tokens // 2), MOST_CHARACTERS)


def room(share: float, window: float, own: float) -> int:
    """How much of a window the history may take: a share of what the request itself leaves."""
    return max(0, math.floor(share * (window - own)))


def clerks_prompt(
    summary: Summary | None, exchanges: Sequence[Exchange], most_bytes: int
) -> tuple[Sequence[Exchange], list[Message]]:
    """Asks a model for a summary of a summary and the turns after it, as many as surely fit."""
    characters = LEAST_CHARACTERS
    while True:
        asked = _notes(summary, exchanges, characters)
        if size(asked) <= most_bytes or characters < LEAST_SHOWN:
            return exchanges, asked
        if len(exchanges) > 1:
            exchanges = exchanges[: len(exchanges) // 2]
        else:
            characters //= 2


def tidied(notes: str) -> str:
    """Notes as they are kept: a small model says the same line again and again."""
    lines = dict.fromkeys(filter(None, map(str.strip, notes.splitlines())))
    return "\n".join(lines)[:SUMMARY_CHARACTERS]


def _notes(
    summary: Summary | None, exchanges: Sequence[Exchange], characters: int
) -> list[Message]:
    said = chain.from_iterable(each.lines for each in exchanges)
    lines = [
        *([f"Notes so far: {_flat(summary.text, 2 * characters)}"] if summary else []),
        *(f"{each.role.capitalize()} said: {_flat(each.content, characters)}" for each in said),
        "Write the notes.",
    ]
    return [Message("system", _CLERK), Message("user", "\n".join(lines))]


def _flat(text: str, characters: int) -> str:
    """A message as one line."""
    return shortened(" ".join(text.split()), characters)
