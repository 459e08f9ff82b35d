"""Texts for people and models: nothing in them that is there and not seen. Pure."""

import re
from typing import Final

UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but newline and tab, and those that turn the direction of what follows."""


def cut(text: str, most: int) -> str:
    """So many characters of a text; it ends with `…` where it goes on."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def line(text: str, most: int) -> str:
    """The same on one line: a space instead of whatever cannot be printed."""
    return cut("".join(each if each.isprintable() else " " for each in text[: most + 1]), most)


def plain(text: str) -> str:
    """A text without them."""
    return UNSEEN.sub("", text)
