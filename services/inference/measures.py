"""How fast models answer, and how much: counted as generations end. Pure."""

from services.chassis.histograms import RATES, Histogram, Tally
from services.inference.domain.generation import Complete

MODEL = "gen_ai_request_model"


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
        return (self.durations, self.first_tokens, self.queued, self.rates, self.tokens)

    def generated(self, complete: Complete, trace_id: str = "") -> None:
        """Count a generation."""
        model, said, usage = complete.model.name, complete.metrics, complete.finished.usage
        self.durations.observe(said.latency_ms / 1000, model, trace_id=trace_id)
        self.first_tokens.observe(said.time_to_first_token_ms / 1000, model, trace_id=trace_id)
        self.queued.observe(said.queue_ms / 1000, model, trace_id=trace_id)
        self.rates.observe(said.tokens_per_second, model)
        self.tokens.add(usage.prompt_tokens, model, "input")
        self.tokens.add(usage.cached_tokens, model, "cached")
        self.tokens.add(usage.completion_tokens, model, "output")
