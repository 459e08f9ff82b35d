"""Between protobuf and the domain: labels and vectors of texts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from runplane.inference.v1 import inference_pb2 as pb

from services.chassis.errors import ServiceError
from services.inference.domain.classification import (
    MAX_EXAMPLES,
    MAX_LABELS,
    Example,
    Question,
    Ranked,
)
from services.inference.domain.embedding import Embedding
from services.inference.domain.reading import Classified, Item, Reading
from services.inference.domain.request import Priority
from services.inference.domain.texts import MAX_INPUTS
from services.inference.mapping.inference import metadata, priority, usage

Asked: TypeAlias = pb.ClassifyRequest | pb.BatchClassifyRequest


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of every reading."""

    reading_id: str
    reading: Reading
    trace_id: str

    @property
    def metrics(self) -> pb.ReadingMetrics:
        """How fast it was."""
        return pb.ReadingMetrics(
            latency_ms=round(self.reading.latency_ms, 3),
            queue_ms=round(self.reading.queue_ms, 3),
            tokens_per_second=round(self.reading.tokens_per_second, 3),
        )

    @property
    def metadata(self) -> pb.GenerationMetadata:
        """What produced it."""
        return metadata(self.reading.model, self.reading.time, self.trace_id)


def question(message: Asked, default: Priority) -> Question:
    """What is asked; of lists that are too long, as much as shows that they are."""
    return Question(
        labels=tuple(message.labels[: MAX_LABELS + 1]),
        model=message.model,
        instructions=message.instructions,
        examples=tuple(
            Example(each.input, each.label) for each in message.examples[: MAX_EXAMPLES + 1]
        ),
        priority=priority(message.priority) if message.priority else default,
    )


def inputs(sent: Sequence[str]) -> tuple[str, ...]:
    """Texts; of too many, as many as show that they are."""
    return tuple(sent[: MAX_INPUTS + 1])


def embedding(message: pb.EmbedRequest) -> Embedding:
    """The texts that are to become vectors."""
    return Embedding(message.model, inputs(message.inputs), priority(message.priority))


def classified(told: Told, result: Classified) -> pb.ClassifyResponse:
    """How likely each label is."""
    return pb.ClassifyResponse(
        id=told.reading_id,
        status="completed",
        results=map(_score, result.results),
        metrics=told.metrics,
        metadata=told.metadata,
        usage=usage(told.reading.usage),
    )


def batch_classified(told: Told, items: Sequence[Item]) -> pb.BatchClassifyResponse:
    """What came of each text."""
    completed = sum(isinstance(each, Classified) for each in items)
    failed = len(items) - completed
    return pb.BatchClassifyResponse(
        id=told.reading_id,
        status="completed" if not failed else "partial" if completed else "failed",
        items=[_item(index, each) for index, each in enumerate(items)],
        completed=completed,
        failed=failed,
        metrics=told.metrics,
        metadata=told.metadata,
        usage=usage(told.reading.usage),
    )


def embedded(told: Told, vectors: Sequence[Sequence[float]]) -> pb.EmbedResponse:
    """The vectors."""
    return pb.EmbedResponse(
        embeddings=[
            pb.TextEmbedding(index=index, values=vector) for index, vector in enumerate(vectors)
        ],
        metrics=told.metrics,
        metadata=told.metadata,
        usage=usage(told.reading.usage),
        id=told.reading_id,
        status="completed",
    )


def _item(index: int, item: Item) -> pb.BatchClassifyItem:
    if isinstance(item, Classified):
        results = map(_score, item.results)
        return pb.BatchClassifyItem(index=index, status="completed", results=results)
    return pb.BatchClassifyItem(index=index, status="failed", error=_error(item))


def _score(ranked: Ranked) -> pb.LabelScore:
    return pb.LabelScore(label=ranked.label, score=ranked.score, confidence=ranked.score)


def _error(error: ServiceError) -> pb.ClassifyError:
    told = pb.ClassifyError(
        grpc_status=error.code,
        error_code=error.reason,
        message=error.message,
        suggested_fix=error.metadata.get("suggested_fix", ""),
    )
    if error.retry_after is not None:
        told.retry_after_ms = error.retry_after.total_seconds() * 1e3
    return told
