"""What was used lately. Pure, but for its memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class Lately(Generic[Name, Value]):
    """Keeps at most `size` values, those that were used last. An owner that has a quarter of them
    pushes out its own, and not what others have."""

    def __init__(
        self,
        size: int,
        *,
        owner: Callable[[Name], Hashable] | None = None,
        forget: Callable[[Value], object] | None = None,
    ) -> None:
        """`forget` is told of each value that has to make room."""
        self._size = size
        self._forget = forget
        self._values: OrderedDict[Name, Value] = OrderedDict()
        self._owner = owner
        self._owned: dict[Hashable, OrderedDict[Name, None]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: Name) -> Value | None:
        """A value, if it is still there."""
        if (value := self._values.get(name)) is not None:
            self._touch(name)
        return value

    def put(self, name: Name, value: Value) -> Value:
        """Keep a value, in place of the one of the same name."""
        self._values[name] = value
        self._touch(name)
        if len(self._values) > self._size:
            oldest = self._oldest(name)
            old = self._values[oldest]
            self.drop(oldest)
            if self._forget is not None:
                self._forget(old)
        return value

    def drop(self, name: Name) -> None:
        """Keep it no longer."""
        self._values.pop(name, None)
        if self._owner is not None and (own := self._owned.get(self._owner(name))) is not None:
            own.pop(name, None)
            if not own:
                del self._owned[self._owner(name)]

    def values(self) -> Iterable[Value]:
        """All that is kept, the one that was used last at the end."""
        return self._values.values()

    def _oldest(self, name: Name) -> Name:
        """What gives way to a value of this name."""
        own = self._owned[self._owner(name)] if self._owner is not None else {}
        return next(iter(own if len(own) > max(1, self._size // 4) else self._values))

    def _touch(self, name: Name) -> None:
        self._values.move_to_end(name)
        if self._owner is not None:
            own = self._owned.setdefault(self._owner(name), OrderedDict())
            own[name] = None
            own.move_to_end(name)
