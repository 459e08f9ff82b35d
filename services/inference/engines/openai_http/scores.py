"""Who scores labels, by what an upstream has beside OpenAI's API."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines.openai_http.dialect import Extra
from services.inference.engines.openai_http.llamacpp_scores import LlamacppScores
from services.inference.engines.openai_http.upstream import Upstream
from services.inference.engines.openai_http.vllm_scores import VllmScores
from services.inference.engines.openai_http.wire import Wire


class Scores(Protocol):
    """One way to score labels."""

    async def scored(self, scoring: Scoring, window: int, queue_ms: float) -> Scored:
        """Each label as the assistant's whole turn.

        Raises:
            RefusedError: the upstream refuses it.
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`.
            Unavailable: `ENGINE_FAILED`; it does not tell how likely tokens are.
        """


SCORES: Final[Mapping[Extra, Callable[[Wire, Upstream], Scores]]] = {
    "llamacpp": LlamacppScores,
    "vllm": VllmScores,
}
