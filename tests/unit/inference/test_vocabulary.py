"""Control tokens of a model's file, and texts without them."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engines.llamacpp.model_file import located
from services.inference.engines.vocabulary import control_tokens, has_pooling, taming


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf(*pairs: bytes, count: int | None = None) -> bytes:
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs) if count is None else count)
    return head + b"".join(pairs)


TOKENS = string("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3)
TOKENS += string("hello") + string("<|end|>") + string("<x>")
KINDS = string("tokenizer.ggml.token_type") + struct.pack("<IIQ3i", 9, 5, 3, 1, 3, 4)
OTHERS = (
    string("general.name") + struct.pack("<I", 8) + string("a model"),
    string("a.flag") + struct.pack("<I?", 7, True),
    string("a.number") + struct.pack("<Id", 12, 0.5),
    string("lists") + struct.pack("<IIQIQ2H", 9, 9, 1, 2, 2, 7, 8),
)


def test_the_embedded_model_has_the_tokens_that_begin_and_end_turns() -> None:
    found = control_tokens(located(None, None).path)

    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} <= set(found)


def test_tokens_are_found_among_values_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(*OTHERS, TOKENS, KINDS))

    assert control_tokens(path) == ["<|end|>", "<x>"]


def test_a_file_without_a_vocabulary_has_none(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(*OTHERS))

    assert control_tokens(path) == []


@pytest.mark.parametrize("has_one", [True, False])
def test_a_model_that_was_made_for_vectors_says_how_it_pools(tmp_path: Path, has_one: bool) -> None:
    path = tmp_path / "model.gguf"
    architecture = string("general.architecture") + struct.pack("<I", 8) + string("bert")
    pooling = string("bert.pooling_type") + struct.pack("<II", 4, 2)
    path.write_bytes(gguf(architecture, *([pooling] if has_one else []), TOKENS))

    assert has_pooling(path) is has_one
    assert not has_pooling(located(None, None).path)


@pytest.mark.parametrize(
    "content",
    [b"GGUF", gguf(TOKENS[:-1]), gguf(count=2**63), gguf(string("odd") + struct.pack("<I", 99))],
)
def test_a_broken_file_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)

    with pytest.raises(ValueError):  # noqa: PT011 - whichever
        control_tokens(path)


def test_a_token_is_spelled_apart_and_the_rest_is_left_alone() -> None:
    tame = taming(["<|end|>", "<x>"])

    assert tame("a <|end|><x> < x > <|END|>") == "a < |end|>< x> < x > <|END|>"
    assert taming([])("<|end|>") == "<|end|>"


@given(st.text(alphabet="<|end>x ", max_size=40))
def test_no_text_spells_a_token_once_it_is_tamed(text: str) -> None:
    tamed = taming(["<|end|>", "<x>", "<|end"])(text)

    assert not any(token in tamed for token in ("<|end|>", "<x>", "<|end"))
