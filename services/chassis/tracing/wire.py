"""What OTLP's messages are made of on the wire: fields of Protocol Buffers, as bytes.

Built as the library's objects, an attribute takes ten times as long, and there are ten in each span
(decision 35). A test holds all of it against the library.
"""

import struct
from collections.abc import Mapping
from typing import Final

from services.chassis.tracing.spans import MOST_CHARACTERS, Facts, Value

_MOST: Final = 1 << 63
_KEPT: Final = 4096
_TABLED: Final = 1024
"""Lengths and numbers below it are looked up, not written."""
_DOUBLE: Final = struct.Struct("<BBBd")


def varint(number: int) -> bytes:
    """A number of at least 0."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SIZES: Final = tuple(map(varint, range(_TABLED)))


def sized(body: bytes) -> bytes:
    """With its length before it, as texts, bytes and messages are written."""
    length = len(body)
    return (_SIZES[length] if length < _TABLED else varint(length)) + body


def text(said: str) -> bytes:
    """A text.

    Raises:
        ValueError: it is none, as half a surrogate pair is.
    """
    return sized(said.encode())


class Attributes:
    """Writes `KeyValue`s."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        """`renamed`: what is called something else than its name here."""
        self._renamed = renamed
        self._names: dict[str, bytes] = {}
        self._shared: dict[int, tuple[Facts, bytes]] = {}

    def written(self, tag: bytes, facts: Facts) -> bytes:
        """All of them, each as a field with this tag, a byte.

        Raises:
            TypeError, ValueError: one of them cannot be written.
        """
        known = self._names
        parts: list[bytes] = []
        for name, value in facts.items():
            pair = (known.get(name) or self._name(name)) + _value(value)
            length = len(pair)
            parts += tag, _SIZES[length] if length < _TABLED else varint(length), pair
        return b"".join(parts)

    def shared(self, tag: bytes, facts: Facts) -> bytes:
        """The same of what many spans have, always as the same object: it is written once."""
        if (kept := self._shared.get(id(facts))) is not None:
            return kept[1]
        if len(self._shared) >= _KEPT:
            self._shared.clear()
        said = self.written(tag, facts)
        self._shared[id(facts)] = facts, said  # As long as they are kept, the id is theirs.
        return said

    def _name(self, name: str) -> bytes:
        known = b"\x0a" + text(self._renamed.get(name, name))
        if len(self._names) < _KEPT:
            self._names[name] = known
        return known


def _value(value: Value) -> bytes:
    """An `AnyValue`, as the value of a `KeyValue`; long text is cut."""
    if isinstance(value, str):
        said = value[:MOST_CHARACTERS].encode()
        length = len(said)
        return (_TEXTS[length] if length < _TABLED else _text_head(length)) + said
    if isinstance(value, float):
        return _DOUBLE.pack(0x12, 9, 0x21, value)
    if isinstance(value, bool):
        return b"\x12\x02\x10\x01" if value else b"\x12\x02\x10\x00"
    if isinstance(value, int):
        return _INTS[value] if 0 <= value < _TABLED else _int(value)
    texts = b"".join(b"\x0a" + sized(b"\x0a" + text(each)) for each in value)
    return b"\x12" + sized(b"\x2a" + sized(texts))


def _text_head(length: int) -> bytes:
    """What comes before so many bytes of a text."""
    head = b"\x0a" + varint(length)
    return b"\x12" + varint(len(head) + length) + head


def _int(value: int) -> bytes:
    if not -_MOST <= value < _MOST:
        raise ValueError("it has more than 64 bits")
    return b"\x12" + sized(b"\x18" + varint(value % (2 * _MOST)))


_TEXTS: Final = tuple(map(_text_head, range(_TABLED)))
_INTS: Final = tuple(map(_int, range(_TABLED)))
