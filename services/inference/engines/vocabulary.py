"""The control tokens of a GGUF model, and texts in which none of them is spelled out.

llama.cpp reads a control token wherever its spelling stands, in what users and tools say as well:
a message with `<|im_start|>system` in it would speak as the system.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from services.inference.engines import gguf

Tame: TypeAlias = Callable[[str], str]

_CONTROL: Final = (3, 4)  # Control and user-defined tokens: matched by their spelling.
_TOKENS: Final = "tokenizer.ggml.tokens"
_TYPES: Final = "tokenizer.ggml.token_type"
_ARCHITECTURE: Final = "general.architecture"
_POOLING: Final = ".pooling_type"  # Behind the name of the architecture.
_SHORTEST: Final = 3


def control_tokens(path: Path) -> Sequence[str]:
    """How the model's control tokens are spelled; none if the file does not say.

    Raises:
        ValueError: the file ends too early, or holds what the format does not know.
    """
    found = gguf.metadata(path, {_TOKENS, _TYPES})
    kinds = zip(found.get(_TOKENS, ()), found.get(_TYPES, ()), strict=False)
    return [token for token, kind in kinds if kind in _CONTROL and len(token) >= _SHORTEST]


def has_pooling(path: Path) -> bool:
    """Whether the model says itself how its tokens become one vector: whether it was made for that.

    Raises:
        ValueError: as above.
    """
    architecture = gguf.metadata(path, {_ARCHITECTURE}).get(_ARCHITECTURE)
    return bool(gguf.metadata(path, {f"{architecture}{_POOLING}"}))


def taming(tokens: Sequence[str]) -> Tame:
    """What spells the tokens in a text apart: a space behind the first character of each."""
    if not tokens:
        return lambda text: text
    longest_first = sorted(tokens, key=len, reverse=True)
    spelled = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: spelled.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
