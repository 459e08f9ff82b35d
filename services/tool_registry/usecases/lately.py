"""What was used lately."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class Lately(Generic[Name, Value]):
    """Keeps at most `size` values, those that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Name, Value] = OrderedDict()

    def get(self, name: Name) -> Value | None:
        """A value, if it is still there."""
        if (value := self._values.get(name)) is not None:
            self._values.move_to_end(name)
        return value

    def put(self, name: Name, value: Value) -> Value:
        """Keep a value, in place of the one of the same name."""
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value

    def drop(self, name: Name) -> None:
        """Keep it no longer."""
        self._values.pop(name, None)
