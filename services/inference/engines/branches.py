"""Labels as paths of tokens, which part where labels differ. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Path: TypeAlias = tuple[int, ...]


def branches(paths: Sequence[Path]) -> dict[Path, tuple[int, ...]]:
    """The beginnings of the paths, each with the tokens that may come next.

    Depth first: from one to the next, as much as can be stays the same.
    """
    following: dict[Path, dict[int, None]] = {}
    for path in sorted(paths):
        for length, token in enumerate(path):
            following.setdefault(path[:length], {})[token] = None
    return {beginning: tuple(tokens) for beginning, tokens in following.items()}


def sums(paths: Sequence[Path], known: Mapping[Path, float]) -> tuple[float, ...]:
    """The log-probability of each path, from that of each of its tokens behind those before."""
    return tuple(
        math.fsum(known[path[:length]] for length in range(1, len(path) + 1)) for path in paths
    )
