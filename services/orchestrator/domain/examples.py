"""Which examples a model is shown: those most like the query, the likest last.

Small models follow the example that stands nearest to the question, so a few fitting ones do more
than all of them (Liu et al., "What Makes Good In-Context Examples for GPT-3?", 2022).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.orchestrator.domain.tool import Example, Tool

SHOWN: Final = 2
_COMPARED_CHARACTERS: Final = 400
_NUMBER: Final = re.compile(r"\d+")
_PUNCTUATION: Final = re.compile(r"[^\w+*/%-]+")


@dataclass(frozen=True, eq=False)
class Shown:
    """An exchange to show; `tool` is empty where the answer needs none."""

    tool: str
    example: Example


_TALK: Final = tuple(
    Shown("", Example(query, {}, answer))
    for query, answer in (
        ("Hello!", "Hello! How can I help?"),
        ("Hi", "Hi! What can I do for you?"),
        ("Hey there, how are you?", "I am well, thank you. What can I do for you?"),
        ("Thanks!", "You are welcome!"),
        ("Goodbye", "Goodbye!"),
        ("Who are you?", "I am an agent. I answer questions, and I use tools where they help."),
        ("What can you do?", "I answer questions, and I use tools where they help."),
        ("Who was Isaac Newton?", "Isaac Newton was an English physicist who described gravity."),
        ("Tell me about the moon.", "The moon goes around the Earth once in 27 days."),
        ("What is the capital of Italy?", "The capital of Italy is Rome."),
    )
)


def nearest(query: str, tools: Sequence[Tool]) -> list[Shown]:
    """At most `SHOWN` examples, the one most like the query last."""
    wanted = _trigrams(query)
    likest = sorted(_known(tuple(tools)), key=lambda each: _likeness(wanted, each[1]))
    return [shown for shown, _ in likest[-SHOWN:]]


def known(tools: tuple[Tool, ...]) -> list[Shown]:
    """All that may be shown."""
    return [shown for shown, _ in _known(tools)]


@lru_cache(64)
def _known(tools: tuple[Tool, ...]) -> list[tuple[Shown, frozenset[str]]]:
    shown = [*_TALK, *(Shown(tool.name, each) for tool in tools for each in tool.examples)]
    return [(each, _trigrams(each.example.query)) for each in shown]


def _trigrams(text: str) -> frozenset[str]:
    """Three characters at a time; all numbers count as the same."""
    plain = _NUMBER.sub("9", text[:_COMPARED_CHARACTERS].lower())
    plain = f" {_PUNCTUATION.sub(' ', plain)} "
    return frozenset(plain[start : start + 3] for start in range(len(plain) - 2))


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """From 0 to 1 (Jaccard)."""
    both = len(one & other)
    return both / max(1, len(one) + len(other) - both)
