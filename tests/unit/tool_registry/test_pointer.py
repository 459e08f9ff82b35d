"""JSON Pointers, as RFC 6901 has them."""

import pytest

from services.tool_registry.domain.pointer import POINTER, found

DOCUMENT: dict[str, object] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "m~n": 8,
    "deep": [{"x": None}],
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/m~0n", 8),
        ("/deep/0/x", None),
    ],
)
def test_what_stands_there_is_found(pointer: str, value: object) -> None:
    assert POINTER.fullmatch(pointer)
    assert found(DOCUMENT, pointer) == value


@pytest.mark.parametrize(
    "pointer",
    [
        "/no",
        "/foo/2",
        "/foo/-",
        "/foo/00",
        "/foo/-1",
        "/foo/1e0",
        "/foo/0/0",
        "/deep/0/x/y",
        "/foo/x",
    ],
)
def test_what_is_not_there_is_not_found(pointer: str) -> None:
    with pytest.raises(LookupError):
        found(DOCUMENT, pointer)
