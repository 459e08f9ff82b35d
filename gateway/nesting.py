"""How deep a JSON text is nested, without reading what it says.

The codec reads nested JSON on its stack: 20,000 open brackets end the process. So the edge counts
first. Most texts have few brackets in all, and counting those is all that it takes.
"""

import re
from typing import Final

MAX_DEPTH: Final = 100  # The codec's own bound lies below: about 50 levels of a free object.

# A string, or what there is of it when it does not end. Possessive, so that it takes linear time.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_TO_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))


def is_too_deep(text: bytes) -> bool:
    """Whether brackets may be open more than `MAX_DEPTH` deep.

    True as well for brackets that do not match, if there are many: that is no JSON anyway.
    """
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    rest = _STRING.sub(b"", text).translate(_TO_SQUARE, _NOT_BRACKETS)
    for peeled in range(MAX_DEPTH):
        if len(rest) + peeled <= MAX_DEPTH:
            return False
        inner = len(rest)
        rest = rest.replace(b"[]", b"")  # Takes off the innermost level, everywhere.
        if len(rest) == inner:
            return True
    return bool(rest)
