"""What was used lately. Pure, but for its memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class Lately(Generic[Name, Value]):
    """Keeps at most `size` values, those that were used last."""

    def __init__(self, size: int, forget: Callable[[Value], object] | None = None) -> None:
        """`forget` is told of each value that has to make room."""
        self._size = size
        self._forget = forget
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
            _, old = self._values.popitem(last=False)
            if self._forget is not None:
                self._forget(old)
        return value

    def drop(self, name: Name) -> None:
        """Keep it no longer."""
        self._values.pop(name, None)

    def values(self) -> Iterable[Value]:
        """All that is kept, the one that was used last at the end."""
        return self._values.values()
