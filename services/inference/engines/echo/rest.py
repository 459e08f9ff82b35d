"""How the echo engine goes on from the start of a turn. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Final

# The start of an agent's step, up to the text of its answer.
_STEP: Final = re.compile(
    r'\s*\{\s*"thought"\s*:\s*"(?:[^"\\]|\\.)*"\s*,\s*"answer"\s*:\s*"', re.DOTALL
)


def whole(prefix: str, text: str) -> str:
    """The text in the shape that the prefix begins: as it is, or as the answer of a step."""
    return _escaped(text) + '"}' if _STEP.match(prefix) else text


def rest(prefix: str, text: str) -> str:
    """What is left of the text behind what of it the prefix ends with."""
    step = _STEP.match(prefix)
    said = prefix[step.end() :] if step else prefix
    return text[_overlap(said, text) :]


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _overlap(said: str, text: str) -> int:
    """The most characters that `said` ends and the text begins with."""
    if text.startswith(said):
        return len(said)
    return _border([*text[: len(said)], "", *said])  # No character is the empty one.


def _border(characters: Sequence[str]) -> int:
    """The longest beginning that is the end, too, and not the whole (Knuth, Morris and Pratt)."""
    borders = [0]
    for character in characters[1:]:
        length = borders[-1]
        while length and characters[length] != character:
            length = borders[length - 1]
        borders.append(length + (characters[length] == character))
    return borders[-1]
