"""Turns of models as their client sees them: what is asked of the inference service."""

from time import perf_counter
from typing import Final

from services.chassis.errors import ServiceError
from services.chassis.exemplars import example
from services.chassis.histograms import CANCELED, OTHER_ERROR, Histogram, Tally
from services.orchestrator.domain.events import Turn

MODEL: Final = "gen_ai_request_model"
TOKENS: Final = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0)


class Inferences:
    """By the model; only models that there are are asked."""

    def __init__(self) -> None:
        self.durations = Histogram(
            "gen_ai_client_inference_duration_seconds",
            "What turns of models took, from asking to their last word.",
            [MODEL, "error_type"],
        )
        self.firsts = Histogram(
            "gen_ai_client_inference_time_to_first_chunk_seconds",
            "How long their first word was waited for.",
            [MODEL],
        )
        self.prompts = Histogram(
            "gen_ai_client_inference_operation_input_tokens",
            "How long their prompts were.",
            [MODEL],
            TOKENS,
        )
        self.answers = Histogram(
            "gen_ai_client_inference_operation_output_tokens",
            "How long their answers were.",
            [MODEL],
            TOKENS,
        )
        self.sent = Tally(
            "gen_ai_client_inference_usage_input_tokens", "Tokens of all prompts.", [MODEL]
        )
        self.cached = Tally(
            "gen_ai_client_inference_usage_cache_read_input_tokens",
            "Those of them that an engine had computed before.",
            [MODEL],
        )
        self.received = Tally(
            "gen_ai_client_inference_usage_output_tokens", "Tokens of all answers.", [MODEL]
        )

    def all(self) -> tuple[Histogram | Tally, ...]:
        """All of them."""
        histograms = (self.durations, self.firsts, self.prompts, self.answers)
        return (*histograms, self.sent, self.cached, self.received)

    def begin(self, model: str) -> "Inference":
        """A model is asked now."""
        return Inference(self, model)


class Inference:
    """A turn under way, as a `with` block; it counts when that is left."""

    __slots__ = ("_first", "_measures", "_model", "_start", "_trace_id", "_turn")

    def __init__(self, measures: Inferences, model: str) -> None:
        self._measures = measures
        self._model = model
        self._start = perf_counter()
        self._first = 0.0
        self._turn: Turn | None = None
        self._trace_id = example()

    def heard(self, turn: Turn | None) -> None:
        """It says something; with the last of it comes what it took."""
        if not self._first:
            self._first = perf_counter()
        self._turn = turn

    def __enter__(self) -> "Inference":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        measures, model, trace_id = self._measures, self._model, self._trace_id
        labels, took = (model, self._error(error)), perf_counter() - self._start
        measures.durations.observe(took, *labels, trace_id=trace_id)
        if self._first:
            measures.firsts.observe(self._first - self._start, model, trace_id=trace_id)
        if (turn := self._turn) is not None:
            measures.prompts.observe(turn.prompt_tokens, model)
            measures.answers.observe(turn.completion_tokens, model)
            measures.sent.add(turn.prompt_tokens, model)
            measures.cached.add(turn.cached_tokens, model)
            measures.received.add(turn.completion_tokens, model)

    def _error(self, error: BaseException | None) -> str:
        if isinstance(error, ServiceError):
            return error.reason
        if isinstance(error, Exception):
            return OTHER_ERROR
        if self._turn is not None:
            return ""
        return OTHER_ERROR if error is None else CANCELED
