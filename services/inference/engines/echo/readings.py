"""What the echo engine makes of texts that it reads: shares of labels, and vectors. Pure."""

import hashlib
from collections.abc import Sequence
from typing import Final

from services.inference.domain.embedding import Vector, unit

DIMENSIONS: Final = 64
MENTION: Final = 3.0
"""What one mention adds to a label's log-probability: e^3, some 20 times as likely."""


def likely(text: str, labels: Sequence[str]) -> tuple[float, ...]:
    """The log-probability of each label: how often the text has it, upper and lower case alike."""
    folded = text.casefold()
    return tuple(MENTION * folded.count(label.casefold()) for label in labels)


def units(text: str) -> list[str]:
    """A text's words; the text itself if it has none."""
    return text.split() or [text]


def hashed(text: str) -> Vector:
    """A vector of length 1: each word, by its hash, adds 1 to one dimension or takes it away."""
    found = [0.0] * DIMENSIONS
    words = units(text.casefold())
    for word in words:
        digest = hashlib.sha256(word.encode()).digest()
        found[digest[0] % DIMENSIONS] += 1.0 if digest[1] % 2 else -1.0
    if not any(found):  # All words cancelled each other out.
        found[len(words) % DIMENSIONS] = 1.0
    return unit(found)
