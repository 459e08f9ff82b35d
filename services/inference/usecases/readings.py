"""What callers can have models do with texts beside answering them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

from services.chassis.errors import DeadlineExceeded, InvalidArgument, ServiceError, invalid
from services.inference.domain.abilities import first_able, unable
from services.inference.domain.classification import Question, check, ranked, scoring
from services.inference.domain.embedding import Embedding
from services.inference.domain.generation import Usage
from services.inference.domain.model import Capability, Model
from services.inference.domain.reading import Classified, Embeddings, Item, Reading, together
from services.inference.domain.texts import at, empty, text_faults, too_large
from services.inference.ports import Catalogue, Serving

VALUE_BYTES: Final = 4  # A number of a vector, as it is sent.


@dataclass(frozen=True, slots=True)
class Readings:
    """Labels and vectors of texts."""

    catalogue: Catalogue
    max_bytes: int
    """Of all texts of a request together."""
    now: Callable[[], datetime]

    async def classify(
        self, tenant: str, question: Question, text: str
    ) -> tuple[Classified, Reading]:
        """How likely each label is for the text. Cancelling it stops the engine."""
        start = perf_counter()
        check(question, [text], field="input", max_bytes=self.max_bytes)
        serving = self._able(tenant, question.model, Capability.CLASSIFY)
        result = await _classified(serving, question, text, "input")
        return result, self._reading(start, serving.model, result.usage, result.queue_ms)

    async def batch_classify(
        self,
        tenant: str,
        question: Question,
        inputs: Sequence[str],
        *,
        time_left: timedelta | None = None,
    ) -> tuple[Sequence[Item], Reading]:
        """The same for several texts, of which some may fail. They leave a slot to others. Those
        that are not done shortly before the caller's time is over have failed.

        Raises:
            DeadlineExceeded: none was done in time.
        """
        start = perf_counter()
        check(question, inputs, field="inputs", max_bytes=self.max_bytes)
        serving = self._able(tenant, question.model, Capability.CLASSIFY)
        places = asyncio.Semaphore(max(1, serving.model.slots - 1))

        async def item(index: int, text: str) -> Item:
            async with places:
                try:
                    return await _classified(serving, question, text, f"inputs[{index}]")
                except ServiceError as error:
                    return error

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(item(*each)) for each in enumerate(inputs)]
            await asyncio.wait(tasks, timeout=_patience(time_left))
            for task in tasks:
                task.cancel()
        items = [_late() if task.cancelled() else task.result() for task in tasks]
        if all(isinstance(each, DeadlineExceeded) for each in items):
            raise _late()
        return items, self._reading(start, serving.model, *together(items))

    async def embed(self, tenant: str, embedding: Embedding) -> Embeddings:
        """A vector for each text. Cancelling it stops the engine."""
        start = perf_counter()
        if faults := [*text_faults(embedding.inputs, max_bytes=self.max_bytes)]:
            raise invalid(*faults)
        for index, text in enumerate(embedding.inputs):
            if not text:
                raise empty(f"inputs[{index}]")
        serving = self._able(tenant, embedding.model, Capability.EMBED)
        asked = Embedding(serving.model.name, embedding.inputs, embedding.priority)
        done = await serving.engine.embed(asked)
        if faults := [*too_large(len(done.vectors), VALUE_BYTES * len(done.vectors[0]))]:
            raise invalid(*faults)
        usage = Usage(done.prompt_tokens, 0)
        return Embeddings(done.vectors, self._reading(start, serving.model, usage, done.queue_ms))

    def _able(self, tenant: str, name: str, capability: Capability) -> Serving:
        """The model of this name, or the first one that can.

        Raises:
            InvalidArgument: `MODEL_CAPABILITY_MISSING`.
            NotFound: `MODEL_NOT_FOUND`.
        """
        named = name or first_able(self.catalogue.models(tenant), capability)
        if not named:
            raise unable("", capability)
        serving = self.catalogue.find(tenant, named)
        if capability not in serving.model.capabilities:
            raise unable(serving.model.name, capability)
        return serving

    def _reading(self, start: float, model: Model, usage: Usage, queue_ms: float) -> Reading:
        return Reading(model, self.now(), usage, 1e3 * (perf_counter() - start), queue_ms)


def _patience(time_left: timedelta | None) -> float | None:
    """Seconds until an answer has to go out to be there in time."""
    if time_left is None:
        return None
    seconds = time_left.total_seconds()
    return max(0.0, seconds - max(0.05, seconds / 20))


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("DEADLINE_EXCEEDED", "it was not done when the time was over")


async def _classified(serving: Serving, question: Question, text: str, field: str) -> Classified:
    if not text:
        raise empty(field)
    try:
        scored = await serving.engine.score(scoring(question, text, serving.model.name))
    except InvalidArgument as error:
        raise at(error, field) from None
    results = ranked(question.labels, scored.log_probabilities)
    return Classified(results, scored.usage, scored.queue_ms)
