"""Labels as a model spells them: which tokens may follow which, and how likely each label is. Pure.

A label's probability is that of its tokens, each behind the ones before it, and of the end of the
turn behind the last. Labels that begin alike share their beginnings, and those are asked for once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Tokens: TypeAlias = tuple[int, ...]
Chances: TypeAlias = Mapping[Tokens, Mapping[int, float]]
"""By what was said: the log-probability of what may follow it."""


@dataclass(frozen=True, slots=True)
class LabelTrie:
    """All labels, and what ends each of them."""

    labels: Sequence[Tokens]
    """Each with the token that ends the turn."""

    @property
    def branches(self) -> Mapping[Tokens, Sequence[int]]:
        """By each beginning of a label: the tokens that labels go on with. The empty one first."""
        found: dict[Tokens, list[int]] = {}
        for label in self.labels:
            for length, token in enumerate(label):
                following = found.setdefault(label[:length], [])
                if token not in following:
                    following.append(token)
        return dict(sorted(found.items(), key=lambda item: len(item[0])))

    def log_probabilities(self, chances: Chances) -> tuple[float, ...]:
        """Of each label, in their order."""
        return tuple(
            sum(chances[label[:length]][token] for length, token in enumerate(label))
            for label in self.labels
        )


def labels(spelled: Sequence[Sequence[int]], end: int) -> LabelTrie:
    """The trie of these labels, each as its tokens."""
    return LabelTrie([(*tokens, end) for tokens in spelled])
