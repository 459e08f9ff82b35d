"""What a GGUF file says of its model, and files that say more than they hold."""

import struct
from pathlib import Path

import pytest

from services.inference.engines.gguf import Header, header

STRING, U32, LIST = 8, 4, 9


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def member(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def number(name: str, value: int) -> bytes:
    return member(name, U32, struct.pack("<I", value))


MEMBERS = (
    member("general.architecture", STRING, text("llama")),
    number("general.file_type", 15),
    member("tokenizer.ggml.model", STRING, text("gpt2")),
    number("llama.block_count", 2),
    number("llama.embedding_length", 64),
    number("llama.attention.head_count", 8),
    number("llama.attention.head_count_kv", 4),
)
TENSOR = text("weights") + struct.pack("<IQIQ", 1, 32, 0, 0)


def gguf(*members: bytes, tensors: bytes = TENSOR, counts: tuple[int, int] | None = None) -> bytes:
    many = counts or (int(bool(tensors)), len(members))
    return b"GGUF" + struct.pack("<IQQ", 3, *many) + b"".join(members) + tensors


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(data)
    return path


def test_a_file_says_what_its_model_is_and_needs(tmp_path: Path) -> None:
    found = header(written(tmp_path, gguf(*MEMBERS) + b"\0" * 128))

    assert found == Header("llama", "q4_k_m", "gpt2", token_bytes=2 * 2 * 2 * 4 * 8)


def test_heads_may_differ_from_layer_to_layer(tmp_path: Path) -> None:
    heads = member("llama.attention.head_count_kv", LIST, struct.pack("<IQII", U32, 2, 1, 4))
    found = header(written(tmp_path, gguf(*MEMBERS[:-1], heads) + b"\0" * 128))

    assert found.token_bytes == 2 * 2 * 2 * 4 * 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"GGML" + gguf(*MEMBERS)[4:],
        gguf(*MEMBERS),  # No weights.
        gguf(*MEMBERS)[:-20],
        gguf(*MEMBERS, counts=(1, 2**62)) + b"\0" * 128,
        gguf(*MEMBERS, counts=(2**62, 7)) + b"\0" * 128,
        gguf(text("a") + struct.pack("<I", STRING) + struct.pack("<Q", 2**62)),
        gguf(member("a", LIST, struct.pack("<IQ", U32, 2**60))),
        gguf(member("a", LIST, struct.pack("<IQ", LIST, 1) * 100)),
        gguf(member("a", 99, b"\0" * 8)) + b"\0" * 128,
        gguf(tensors=text("w") + struct.pack("<I", 1_000)) + b"\0" * 128,
    ],
)
def test_a_file_that_is_not_whole_is_told_from_one_that_is(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path, data)

    with pytest.raises(ValueError, match=r"ends|not a GGUF|says|dimensions|no type"):
        header(path)
