"""What the spans of RPCs say of the model that answered. Its tokens are for the caller's `chat` to
say, so that whoever adds up a trace counts them once."""

from services.chassis.tracing import names
from services.chassis.tracing.spans import Nothing, serving
from services.inference.domain.generation import Complete
from services.inference.domain.model import Model
from services.inference.domain.reading import Reading


def generated(end: Complete) -> None:
    """A generation is over."""
    serving().set(names.FIRST_TEXT_MS, end.metrics.time_to_first_token_ms)
    _answered(end.model, end.metrics.queue_ms)


def read(reading: Reading) -> None:
    """Texts were classified."""
    _answered(reading.model, reading.queue_ms)


def embedded(reading: Reading) -> None:
    """Texts became vectors: nobody but this span says so."""
    embedding = serving()
    if isinstance(embedding, Nothing):
        return
    embedding.name = f"embeddings {reading.model.name}"
    embedding.set(names.OPERATION, "embeddings")
    embedding.set(names.INPUT_TOKENS, reading.usage.prompt_tokens)
    _answered(reading.model, reading.queue_ms)


def _answered(model: Model, queue_ms: float) -> None:
    serving().set(names.ANSWERED_BY, model.name)
    serving().set(names.QUEUE_MS, queue_ms)
