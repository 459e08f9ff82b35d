"""What messages look like, in the edge's own words, so that only `codec.py` knows the codec."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


class Kind(StrEnum):
    """What a field's values are. The value says what JSON is expected."""

    BOOL = "true or false"
    INT32 = "a whole number from -2147483648 to 2147483647"
    UINT32 = "a whole number from 0 to 4294967295"
    INT64 = "a whole number of 64 bits"
    UINT64 = "a whole number of 64 bits, not negative"
    NUMBER = "a finite number"
    STRING = "a string"
    BYTES = "a string of base64"
    TIME = "a string such as 2026-04-20T05:00:00Z"
    DURATION = "a string such as 1.5s"
    ENUM = "one of the enum's names"
    MESSAGE = "an object"
    FREE_OBJECT = "any object"
    FREE_LIST = "any list"
    FREE = "any JSON"
    OTHER = "a value as its type asks"


FREE: Final = frozenset({Kind.FREE, Kind.FREE_OBJECT, Kind.FREE_LIST})
RANGES: Final = {
    Kind.INT32: (-(2**31), 2**31 - 1),
    Kind.UINT32: (0, 2**32 - 1),
    Kind.INT64: (-(2**63), 2**63 - 1),
    Kind.UINT64: (0, 2**64 - 1),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    kind: Kind
    is_repeated: bool = False
    is_map: bool = False
    message: "Shape | None" = None
    """What it looks like, of kind `MESSAGE`."""
    names: tuple[str, ...] = ()
    """What may be said, of kind `ENUM`."""


@dataclass(slots=True, eq=False)
class Shape:
    """One message type."""

    name: str
    fields: dict[str, Field] = field(default_factory=dict)
    """By proto name and by JSON name: both may be sent."""
    choices: tuple[tuple[str, ...], ...] = ()
    """Proto names of fields of which a message has at most one."""
    holds_free: bool = False
    """Whether free JSON may stand somewhere in it."""
    spellings: frozenset[str] = frozenset()
    """JSON names of fields somewhere in it that are called otherwise in the contract."""

    def names(self) -> list[str]:
        """The proto names, in the order of the contract."""
        return list(dict.fromkeys(each.name for each in self.fields.values()))
