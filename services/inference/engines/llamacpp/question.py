"""One token that llama.cpp is made to produce, to hear how likely it was, on the calling thread."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, cast

from services.chassis.errors import ServiceError
from services.inference.domain.request import JSON
from services.inference.engines import failures
from services.inference.engines.llamacpp.completion import Completing, failure

_MEASURES: Final = (("logprob", "top_logprobs"), ("prob", "top_probs"))

_Object: TypeAlias = Mapping[str, JSON]


class Question:
    """Asked once."""

    def __init__(self, is_closed: Callable[[], bool]) -> None:
        """What `is_closed` says is heeded after each batch of the prompt."""
        self._is_closed = is_closed
        self._told: _Object = {}
        self._error: ServiceError | None = None
        self.cached_tokens = 0
        """Tokens of the prompt that came from the cache."""

    def ask(self, server: Completing, prompt: list[int], how: _Object) -> dict[int, float]:
        """What it says of the token and of others, by token; nothing if it stopped before, or if
        the token ends within a character.

        Raises:
            ServiceError: it cannot.
        """
        body: dict[str, JSON] = {
            "prompt": cast("list[JSON]", prompt),
            "n_predict": 1,
            "stream": True,
            "return_progress": True,  # Calls back after each batch of the prompt.
        }
        try:
            server.handle_completions({**body, **how}, self._take)
        except (RuntimeError, ValueError) as error:
            raise failures.engine_failed(str(error)) from None
        if self._error is not None:
            raise self._error
        return _measured(self._told)

    def _take(self, chunk: _Object) -> bool:
        """Whether to stop."""
        if (error := chunk.get("error")) is not None:
            self._error = failure(cast("_Object", error))
        elif told := _told(chunk):
            self._told = told
        if (usage := cast("_Object | None", chunk.get("usage"))) is not None:
            details = cast("Mapping[str, int]", usage.get("prompt_tokens_details", {}))
            self.cached_tokens = details.get("cached_tokens", 0)
        return self._error is not None or self._is_closed()


def _told(chunk: _Object) -> _Object:
    choices = cast("list[Mapping[str, Mapping[str, list[_Object]] | None]]", chunk.get("choices"))
    told = choices[0].get("logprobs") if choices else None
    return told["content"][0] if told else {}


def _measured(told: _Object) -> dict[int, float]:
    for one, several in _MEASURES:
        if one in told:
            named = [*cast("list[_Object]", told[several]), told]
            return {cast("int", each["id"]): cast("float", each[one]) for each in named}
    return {}
