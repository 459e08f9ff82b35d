"""What was used lately. Pure, but for its memory."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class Lately(Generic[Name, Value]):
    """Keeps at most `size` values, those that were used last. An owner that has a quarter of them
    pushes out its own, and not what others have. With `weigh`, `size` is of their weights."""

    def __init__(
        self,
        size: int,
        *,
        owner: Callable[[Name], Hashable] | None = None,
        forget: Callable[[Value], object] | None = None,
        weigh: Callable[[Value], int] = lambda _: 1,
    ) -> None:
        """`forget` is told of each value that has to make room."""
        self._size = size
        self._forget = forget
        self._weigh = weigh
        self._values: OrderedDict[Name, Value] = OrderedDict()
        self._owner = owner
        self._owned: dict[Hashable, OrderedDict[Name, None]] = {}
        self._weights: Counter[Hashable] = Counter()
        self.weight = 0
        """Of all that is kept."""

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: Name) -> Value | None:
        """A value, if it is still there."""
        if (value := self._values.get(name)) is not None:
            self._touch(name)
        return value

    def put(self, name: Name, value: Value) -> Value:
        """Keep a value, in place of the one of the same name."""
        self.drop(name)
        self._values[name] = value
        self._touch(name)
        self._weight_of(name, self._weigh(value))
        while self.weight > self._size:
            oldest = self._oldest(name)
            old = self._values[oldest]
            self.drop(oldest)
            if self._forget is not None:
                self._forget(old)
        return value

    def drop(self, name: Name) -> None:
        """Keep it no longer."""
        if (value := self._values.pop(name, None)) is None:
            return
        self._weight_of(name, -self._weigh(value))
        if self._owner is not None and (own := self._owned.get(self._owner(name))) is not None:
            own.pop(name, None)
            if not own:
                del self._owned[self._owner(name)]

    def values(self) -> Iterable[Value]:
        """All that is kept, the one that was used last at the end."""
        return self._values.values()

    def _oldest(self, name: Name) -> Name:
        """What gives way to a value of this name. One alone may have more than its share."""
        if self._owner is None:
            return next(iter(self._values))
        own = self._owned[owner := self._owner(name)]
        has_its_share = len(own) > 1 and self._weights[owner] > self._size // 4
        return next(iter(own if has_its_share else self._values))

    def _weight_of(self, name: Name, change: int) -> None:
        self.weight += change
        if self._owner is None:
            return
        owner = self._owner(name)
        self._weights[owner] += change
        if not self._weights[owner]:
            del self._weights[owner]

    def _touch(self, name: Name) -> None:
        self._values.move_to_end(name)
        if self._owner is not None:
            own = self._owned.setdefault(self._owner(name), OrderedDict())
            own[name] = None
            own.move_to_end(name)
