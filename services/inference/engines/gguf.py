"""What a GGUF file says of its model, and whether the file is whole.

The file's format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

MAGIC: Final = b"GGUF"
_SCALARS: Final = "BbHhIif?"  # By the format's number of the type; 8 is a string, 9 a list.
_LONG_SCALARS: Final = {10: "Q", 11: "q", 12: "d"}
_STRING: Final = 8
_LIST: Final = 9
_MAX_MEMBERS: Final = 65_536
_MAX_TENSORS: Final = 1_000_000
_MAX_DIMENSIONS: Final = 8
_MAX_LISTS: Final = 4  # Within each other.
_FILE_TYPES: Final[Mapping[int, str]] = {
    0: "f32",
    1: "f16",
    2: "q4_0",
    3: "q4_1",
    7: "q8_0",
    8: "q5_0",
    9: "q5_1",
    10: "q2_k",
    11: "q3_k_s",
    12: "q3_k_m",
    13: "q3_k_l",
    14: "q4_k_s",
    15: "q4_k_m",
    16: "q5_k_s",
    17: "q5_k_m",
    18: "q6_k",
    32: "bf16",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the weights."""

    architecture: str
    quantization: str
    tokenizer: str
    token_bytes: int
    """What attention keeps of each token of a context, as 16-bit numbers; 0 if it does not say."""


def metadata(path: Path, names: Collection[str]) -> dict[str, Any]:
    """The values of these names, as far as the file has them.

    Raises:
        ValueError: the file ends too early, or holds what the format does not know.
    """
    with path.open("rb") as file:
        return _metadata(_Reader(file), names)[0]


def header(path: Path) -> Header:
    """What the file says, once it is seen that it holds all that it says it holds.

    Raises:
        ValueError: as `metadata`; or its weights are cut off.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it is not a GGUF file")
        file.seek(0)
        reader = _Reader(file)
        found, tensors = _metadata(reader, None)
        last = _last_offset(reader, tensors)
        if tensors and reader.position + last >= reader.size:
            raise ValueError("the file ends before its weights do")
    return _header(found)


def _header(found: Mapping[str, Any]) -> Header:
    architecture = str(found.get("general.architecture", ""))
    file_type = found.get("general.file_type")
    return Header(
        architecture=architecture,
        quantization=_FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else "",
        tokenizer=str(found.get("tokenizer.ggml.model", "")),
        token_bytes=_token_bytes(found, architecture),
    )


def _token_bytes(found: Mapping[str, Any], architecture: str) -> int:
    def number(name: str, default: int = 0) -> int:
        value = found.get(f"{architecture}.{name}", default)
        value = max(value, default=0) if isinstance(value, Sequence) else value
        return value if isinstance(value, int) and 0 <= value < 2**32 else 0

    heads = number("attention.head_count")
    width = number("attention.key_length") or number("embedding_length") // max(heads, 1)
    kept = number("attention.head_count_kv", heads)
    return 2 * 2 * number("block_count") * kept * width  # Keys and values, two bytes each.


def _metadata(reader: "_Reader", names: Collection[str] | None) -> tuple[dict[str, Any], int]:
    reader.skip(8)  # The magic and the version.
    tensors, count = reader.numbers("QQ")
    if count > _MAX_MEMBERS or tensors > _MAX_TENSORS:
        raise ValueError(f"it says that it has {count:,} values and {tensors:,} tensors")
    found: dict[str, Any] = {}
    for _ in range(count):
        name = reader.string()
        value = reader.value(reader.number("I"))
        if names is None or name in names:
            found[name] = value
    return found, tensors


def _last_offset(reader: "_Reader", tensors: int) -> int:
    last = 0
    for _ in range(tensors):
        reader.string()
        dimensions = reader.number("I")
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"a tensor has {dimensions} dimensions")
        reader.skip(8 * dimensions + 4)
        last = max(last, reader.number("Q"))
    return last


class _Reader:
    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.position = 0
        self.size = file.seek(0, 2)
        file.seek(0)

    def skip(self, size: int) -> None:
        self._read(size)

    def numbers(self, layout: str) -> Sequence[Any]:
        layout = f"<{layout}"
        return struct.unpack(layout, self._read(struct.calcsize(layout)))

    def number(self, layout: str) -> Any:
        return self.numbers(layout)[0]

    def string(self) -> str:
        return self._read(self.number("Q")).decode(errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _LIST:
            item, count = self.numbers("IQ")
            return self._list(item, count, depth + 1)
        return self.number(_layout(kind))

    def _list(self, kind: int, count: int, depth: int) -> Sequence[Any]:
        if depth > _MAX_LISTS or count > self.size - self.position:
            raise ValueError("the file ends too early")
        if kind in {_STRING, _LIST}:
            return [self.value(kind, depth) for _ in range(count)]
        return self.numbers(f"{count}{_layout(kind)}")

    def _read(self, size: int) -> bytes:
        if size > self.size - self.position:
            raise ValueError("the file ends too early")
        self.position += size
        return self._file.read(size)


def _layout(kind: int) -> str:
    layout = _SCALARS[kind] if kind < len(_SCALARS) else _LONG_SCALARS.get(kind)
    if layout is None:
        raise ValueError(f"there is no type {kind}")
    return layout
