"""How fast models answer, and how much: counted as generations end."""

from typing import Final

from services.chassis.exemplars import example
from services.chassis.histograms import RATES, Histogram, Tally
from services.inference.domain.generation import Complete

MODEL = "gen_ai_request_model"

TOKEN_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
"""From 10 ms on, those of the conventions."""


class Measures:
    """Of generations that came to their end, by the model; only models that there are count."""

    def __init__(self) -> None:
        self.durations = Histogram(
            "gen_ai_server_request_duration_seconds", "What generations took.", [MODEL]
        )
        self.first_tokens = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "How long their first token was waited for.",
            [MODEL],
        )
        self.each_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "How long each of their tokens took after the first.",
            [MODEL],
            TOKEN_SECONDS,
        )
        self.queued = Histogram(
            "runplane_inference_queue_seconds", "How long they waited for a slot.", [MODEL]
        )
        self.rates = Histogram(
            "runplane_inference_tokens_per_second", "How fast they were.", [MODEL], RATES
        )
        self.tokens = Tally(
            "runplane_inference_tokens",
            "Tokens of prompts (input, of which some were cached) and of answers (output).",
            [MODEL, "kind"],
        )

    def all(self) -> tuple[Histogram | Tally, ...]:
        """All of them."""
        timed = (self.durations, self.first_tokens, self.each_token, self.queued)
        return (*timed, self.rates, self.tokens)

    def generated(self, complete: Complete) -> None:
        """Count a generation."""
        trace_id = example()
        model, said, usage = complete.model.name, complete.metrics, complete.finished.usage
        self.durations.observe(said.latency_ms / 1000, model, trace_id=trace_id)
        self.first_tokens.observe(said.time_to_first_token_ms / 1000, model, trace_id=trace_id)
        self.queued.observe(said.queue_ms / 1000, model, trace_id=trace_id)
        each, more = self.each_token.of(model), usage.completion_tokens - 1
        spoken = said.latency_ms - said.time_to_first_token_ms
        if more > 0 and spoken > 0:  # Else it came all at once.
            each.observe(spoken / 1000 / more)
        self.rates.observe(said.tokens_per_second, model)
        self.tokens.add(usage.prompt_tokens, model, "input")
        self.tokens.add(usage.cached_tokens, model, "cached")
        self.tokens.add(usage.completion_tokens, model, "output")
