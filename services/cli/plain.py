"""Text of others, made fit for a terminal."""

import re
from typing import Final

_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text that cannot steer a terminal: without control characters but tabs and line ends."""
    return _CONTROLS.sub("", text)
