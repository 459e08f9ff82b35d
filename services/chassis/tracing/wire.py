"""What OTLP's messages are made of on the wire: fields of Protocol Buffers, as bytes.

Built as the library's objects, an attribute takes ten times as long, and there are ten in each span
(decision 35). A test holds all of it against the library.
"""

import struct
from collections.abc import Mapping
from typing import Final

from services.chassis.tracing.spans import Facts, Value

_MOST: Final = 1 << 63
_KEPT: Final = 4096
_DOUBLE: Final = struct.Struct("<Bd")
_FALSE_AND_TRUE: Final = (b"\x10\x00", b"\x10\x01")


def varint(number: int) -> bytes:
    """A number of at least 0."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SIZES: Final = tuple(map(varint, range(1024)))


def sized(body: bytes) -> bytes:
    """With its length before it, as texts, bytes and messages are written."""
    length = len(body)
    return (_SIZES[length] if length < len(_SIZES) else varint(length)) + body


def text(said: str) -> bytes:
    """A text.

    Raises:
        ValueError: it is none, as half a surrogate pair is.
    """
    return sized(said.encode())


class Attributes:
    """Writes `KeyValue`s. Most texts are the same in many spans: they are written once."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        """`renamed`: what is called something else than its name here."""
        self._renamed = renamed
        self._names: dict[str, bytes] = {}
        self._texts: dict[tuple[str, str], bytes] = {}

    def written(self, tag: bytes, facts: Facts) -> bytes:
        """All of them, each as a field with this tag.

        Raises:
            TypeError, ValueError: one of them cannot be written.
        """
        texts = self._texts
        parts: list[bytes] = []
        for fact in facts.items():
            pair = texts.get(fact) if fact[1].__class__ is str else None  # type: ignore[arg-type]
            parts += tag, pair or self._pair(*fact)
        return b"".join(parts)

    def _pair(self, name: str, value: Value) -> bytes:
        pair = sized(self._name(name) + b"\x12" + sized(_value(value)))
        if isinstance(value, str) and len(value) <= 64:
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            self._texts[name, value] = pair
        return pair

    def _name(self, name: str) -> bytes:
        if (known := self._names.get(name)) is None:
            known = b"\x0a" + text(self._renamed.get(name, name))
            if len(self._names) < _KEPT:
                self._names[name] = known
        return known


def _value(value: Value) -> bytes:
    """An `AnyValue`."""
    if isinstance(value, str):
        return b"\x0a" + text(value)
    if isinstance(value, bool):
        return _FALSE_AND_TRUE[value]
    if isinstance(value, int):
        if not -_MOST <= value < _MOST:
            raise ValueError("it has more than 64 bits")
        return b"\x18" + varint(value % (2 * _MOST))
    if isinstance(value, float):
        return _DOUBLE.pack(0x21, value)
    return b"\x2a" + sized(b"".join(b"\x0a" + sized(_value(each)) for each in value))
