"""References of a schema that only ever lead to themselves: whatever is checked, they say nothing.

A loop that steps into the value on its way, to a property or an item, is recursion and ends.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

_ONES: Final = ("not", "if", "then", "else")
_MANY: Final = ("allOf", "anyOf", "oneOf")
_Schema = Mapping[str, object]


def loop(parts: Iterable[_Schema], target: Callable[[_Schema], Iterator[object]]) -> _Schema | None:
    """A part with a reference that leads back to it; None if there is none.

    `target` yields what the references of a part lead to.
    """
    done: set[int] = set()
    for part in parts:
        if id(part) not in done and (found := _from(part, target, done)) is not None:
            return found
    return None


def _from(
    start: _Schema, target: Callable[[_Schema], Iterator[object]], done: set[int]
) -> _Schema | None:
    under_way = {id(start)}
    path = [(start, _beside(start, target))]
    while path:
        part, following = path[-1]
        after = next(following, None)
        if after is None:
            path.pop()
            under_way.discard(id(part))
            done.add(id(part))
        elif id(after) in under_way:
            return _reference(after, [each for each, _ in path])
        elif id(after) not in done:
            under_way.add(id(after))
            path.append((after, _beside(after, target)))
    return None


def _reference(first: _Schema, path: list[_Schema]) -> _Schema:
    """The first part of a loop that has a reference."""
    at = next(place for place, each in enumerate(path) if each is first)
    return next(each for each in path[at:] if "$ref" in each or "$dynamicRef" in each)


def _beside(part: _Schema, target: Callable[[_Schema], Iterator[object]]) -> Iterator[_Schema]:
    """The schemas that check the very value that this one does."""
    inner: list[object] = [part.get(name) for name in _ONES]
    for name in _MANY:
        if isinstance(several := part.get(name), list | tuple):
            inner.extend(several)
    if isinstance(by_name := part.get("dependentSchemas"), Mapping):
        inner.extend(by_name.values())
    inner.extend(target(part))
    return (each for each in inner if isinstance(each, Mapping))
