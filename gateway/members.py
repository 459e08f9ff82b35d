"""JSON texts whose objects have each name once.

Of a name that is there twice some readers take the first, others the last: what one checks would
not be what another does. So such a text is refused.
"""

import json
from collections.abc import Iterator
from typing import Final

from gateway.diagnosis import Place
from gateway.shapes import JSON
from services.chassis.errors import Violation, invalid

_DIGITS: Final = 40


class _Twice(Exception):
    """An object has a name twice."""


class _Pairs(list[tuple[str, object]]):
    """An object with all that it says."""


def loaded(text: bytes) -> JSON:
    """What a JSON text says.

    Raises:
        ValueError: it is no JSON.
        InvalidArgument: `INVALID_REQUEST`, naming what is there twice.
    """
    try:
        value: JSON = _read(text.decode())
    except _Twice:
        place = next(_repeated(_read_pairs(text.decode()), Place()))
        fault = Violation(place.field()[:200], "is given twice", "give it once")
        raise invalid(fault) from None
    return value


def integer(digits: str) -> int:
    """A whole number. Python refuses to read thousands of digits; anything this long is out of
    range anyway."""
    return int(digits) if len(digits) < _DIGITS else 10**_DIGITS


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Twice
    return members


def _repeated(value: object, place: Place) -> Iterator[Place]:
    if isinstance(value, _Pairs):
        names: set[str] = set()
        for name, member in value:
            if name in names:
                yield place.member(name)
            names.add(name)
            yield from _repeated(member, place.member(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, place.item(index))


_read: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=integer).decode
_read_pairs: Final = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=integer).decode
