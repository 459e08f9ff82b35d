"""The control tokens of a GGUF model, and texts in which none of them is spelled out.

llama.cpp reads a control token wherever its spelling stands, in what users and tools say as well:
a message with `<|im_start|>system` in it would speak as the system.

The file's format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import re
import struct
from collections.abc import Callable, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

Tame = Callable[[str], str]

_SCALARS: Final = "BbHhIif?"  # By the format's number of the type; 8 is a string, 9 a list.
_LONG_SCALARS: Final = {10: "Q", 11: "q", 12: "d"}
_STRING: Final = 8
_LIST: Final = 9
_CONTROL: Final = (3, 4)  # Control and user-defined tokens: matched by their spelling.
_TOKENS: Final = "tokenizer.ggml.tokens"
_TYPES: Final = "tokenizer.ggml.token_type"
_POOLING: Final = ".pooling_type"  # Behind the name of the architecture.
_SHORTEST: Final = 3


def control_tokens(path: Path) -> Sequence[str]:
    """How the model's control tokens are spelled; none if the file does not say.

    Raises:
        ValueError: the file ends too early, or holds what the format does not know.
    """
    with path.open("rb") as file:
        found = _metadata(_Reader(file))
    kinds = zip(found.get(_TOKENS, ()), found.get(_TYPES, ()), strict=False)
    return [token for token, kind in kinds if kind in _CONTROL and len(token) >= _SHORTEST]


def has_pooling(path: Path) -> bool:
    """Whether the model says itself how its tokens become one vector: whether it was made for that.

    Raises:
        ValueError: as above.
    """
    with path.open("rb") as file:
        return any(name.endswith(_POOLING) for name in _metadata(_Reader(file)))


def taming(tokens: Sequence[str]) -> Tame:
    """What spells the tokens in a text apart: a space behind the first character of each."""
    if not tokens:
        return lambda text: text
    longest_first = sorted(tokens, key=len, reverse=True)
    spelled = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: spelled.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def _metadata(reader: "_Reader") -> dict[str, Any]:
    reader.skip(8)  # The magic and the version.
    _, count = reader.numbers("QQ")
    found: dict[str, Any] = {}
    for _ in range(count):
        name = reader.string()
        value = reader.value(reader.number("I"))
        if name in {_TOKENS, _TYPES} or name.endswith(_POOLING):
            found[name] = value
    return found


class _Reader:
    def __init__(self, file: BufferedReader) -> None:
        self._file = file

    def skip(self, size: int) -> None:
        self._read(size)

    def numbers(self, layout: str) -> Sequence[Any]:
        layout = f"<{layout}"
        return struct.unpack(layout, self._read(struct.calcsize(layout)))

    def number(self, layout: str) -> Any:
        return self.numbers(layout)[0]

    def string(self) -> str:
        return self._read(self.number("Q")).decode(errors="replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _LIST:
            return self._list(*self.numbers("IQ"))
        return self.number(_layout(kind))

    def _list(self, kind: int, count: int) -> Sequence[Any]:
        if kind in {_STRING, _LIST}:
            return [self.value(kind) for _ in range(count)]
        return self.numbers(f"{count}{_layout(kind)}")

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("the file ends too early")
        return data


def _layout(kind: int) -> str:
    layout = _SCALARS[kind] if kind < len(_SCALARS) else _LONG_SCALARS.get(kind)
    if layout is None:
        raise ValueError(f"there is no type {kind}")
    return layout
