"""How likely llama.cpp finds paths of tokens behind a prompt, on the thread that runs it.

It says how likely tokens are only of one that it produces, and of the likeliest ones beside it. So
it is made to produce one token at each beginning that paths share; where it finds their next
tokens unlikely, it is asked once more, for how much less likely they are than that one. The prompt
and the beginning come from its cache: a question costs what one token costs.
"""

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from services.inference.domain.generation import Usage
from services.inference.domain.request import JSON
from services.inference.engines import failures
from services.inference.engines.branches import Path, branches, sums
from services.inference.engines.llamacpp.completion import Completing
from services.inference.engines.llamacpp.question import Question

LEAST: Final = -100.0
"""Nothing counts as less likely: llama.cpp computes with 32 bits, and rounds such a token to 0."""

_TOP: Final = 128
_FORCED: Final = 1_000.0  # More than any two logits differ by.
_RAISED: Final = 200.0  # The same, with more of the 32 bits left for the difference.
_MARGIN: Final = 20.0  # What is e^20 times as likely as all others together is what is drawn.

_Likely: TypeAlias = dict[int, float]


class Walk:
    """Goes along the paths of labels. Whoever closes it stops it within one token, or one batch of
    the prompt."""

    def __init__(self, prompt: Sequence[int], paths: Sequence[Path], closing: int) -> None:
        """`closing` is a token that is no part of a character, such as the one that ends a turn."""
        self._prompt = prompt
        self._paths = paths
        self._closing = closing
        self._cached_tokens: int | None = None  # That the first question found in the cache.
        self.found: tuple[float, ...] = ()
        """What `run` returned."""
        self.is_closed = False

    @property
    def usage(self) -> Usage:
        """What it took. Tokens of labels are counted without what ends a turn, and once where
        several labels begin with them."""
        scored = {path[:end] for path in self._paths for end in range(1, len(path))}
        return Usage(len(self._prompt), len(scored), self._cached_tokens or 0)

    def run(self, server: Completing) -> tuple[float, ...]:
        """The log-probability of each path; nothing if it was closed. Blocks.

        Raises:
            ServiceError: llama.cpp cannot.
        """
        known: dict[Path, float] = {}
        for beginning, tokens in branches(self._paths).items():
            likely = self._following(server, beginning, tokens)
            if self.is_closed:
                return ()
            known |= {(*beginning, token): max(likely[token], LEAST) for token in tokens}
        self.found = sums(self._paths, known)
        return self.found

    def _following(self, server: Completing, beginning: Path, tokens: Sequence[int]) -> _Likely:
        """The log-probabilities of the tokens behind the beginning."""
        prompt = [*self._prompt, *beginning]
        produced = tokens[0] if len(tokens) == 1 else self._closing
        likely = self._likeliest(server, prompt, produced)
        if not likely and produced != self._closing:  # It ends within a character.
            produced = self._closing
            likely = self._likeliest(server, prompt, produced)
        missing = [token for token in tokens if token not in likely]
        if not missing or self.is_closed:
            return likely
        if not likely:
            raise failures.engine_failed("it says nothing of how likely a token is")
        return likely | self._unlikely(server, prompt, likely, (produced, missing))

    def _likeliest(self, server: Completing, prompt: list[int], produced: int) -> _Likely:
        """Those of the token that it is made to produce, and of the likeliest ones."""
        question = Question(lambda: self.is_closed)
        biases: JSON = [[produced, _FORCED]]
        how: dict[str, JSON] = {"n_probs": _TOP, "temperature": 0.0, "logit_bias": biases}
        likely = question.ask(server, prompt, how)
        if self._cached_tokens is None:
            self._cached_tokens = question.cached_tokens
        return likely

    def _unlikely(
        self, server: Completing, prompt: list[int], likely: _Likely, asked: tuple[int, list[int]]
    ) -> _Likely:
        """Those of tokens that are not among the likeliest, measured at the one produced."""
        produced, missing = asked
        ahead = max(likely.values()) - likely[produced] + _MARGIN
        how: dict[str, JSON] = {
            "n_probs": len(missing) + 1,
            "post_sampling_probs": True,
            "temperature": 1.0,
            "samplers": [],
            "logit_bias": [[produced, _RAISED + ahead], *([each, _RAISED] for each in missing)],
        }
        shares = Question(lambda: self.is_closed).ask(server, prompt, how)
        if not shares.get(produced):
            return dict.fromkeys(missing, LEAST)
        base = likely[produced] + ahead - math.log(shares[produced])
        return {each: base + _log(shares.get(each, 0.0)) for each in missing}


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf
