"""Which model is asked for labels and vectors, and what callers are told when it cannot."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from services.chassis.errors import InvalidArgument, NotFound, ServiceError
from services.inference.domain.classification import Example, Question, ranked, scoring
from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.generation import Usage
from services.inference.domain.model import Capability, Model
from services.inference.domain.reading import Classified, Reading, together
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines.echo.engine import EchoEngine
from services.inference.ports import Serving
from services.inference.usecases.readings import Readings

NOW = datetime(2026, 11, 26, tzinfo=UTC)
LABELS = ("a", "b")


class OneTrickEngine(EchoEngine):
    """Echo under another name, which can do one thing."""

    def __init__(self, name: str, *able: Capability) -> None:
        super().__init__()
        self._model = Model(name, "1", "echo", 64, 8, 2, frozenset(able))
        self.asked: list[str] = []

    async def score(self, scoring: Scoring) -> Scored:
        self.asked.append(scoring.model)
        return await super().score(scoring)

    async def embed(self, embedding: Embedding) -> Embedded:
        self.asked.append(embedding.model)
        return await super().embed(embedding)


class Few:
    """A catalogue of what is there."""

    def __init__(self, *engines: EchoEngine) -> None:
        self._serving = [Serving(engine.models()[0], engine) for engine in engines]

    def find(self, tenant: str, name: str, *, field: str = "model") -> Serving:
        for serving in self._serving:
            if serving.model.name == name:
                return serving
        raise NotFound("MODEL_NOT_FOUND", "there is none")

    def models(self, tenant: str) -> Sequence[Model]:
        return [serving.model for serving in self._serving]


WRITES = OneTrickEngine("writes", Capability.GENERATE)
SCORES = OneTrickEngine("scores", Capability.CLASSIFY)
EMBEDS = OneTrickEngine("embeds", Capability.EMBED)


def readings(*engines: EchoEngine) -> Readings:
    return Readings(Few(*engines), 1_000, lambda: NOW)


async def test_without_a_name_the_first_model_that_can_is_asked() -> None:
    usecases = readings(WRITES, SCORES, EMBEDS)

    _, reading = await usecases.classify("t", Question(LABELS), "x")
    embeddings = await usecases.embed("t", Embedding("", ("x",)))

    assert (reading.model.name, embeddings.reading.model.name) == ("scores", "embeds")
    assert (SCORES.asked[-1], EMBEDS.asked[-1]) == ("scores", "embeds")
    assert reading.time == NOW


@pytest.mark.parametrize("name", ["", "writes"])
async def test_where_no_model_can_callers_are_told_what_to_look_for(name: str) -> None:
    usecases = readings(WRITES)

    with pytest.raises(InvalidArgument) as labels:
        await usecases.classify("t", Question(LABELS, name), "x")
    with pytest.raises(InvalidArgument) as vectors:
        await usecases.embed("t", Embedding(name, ("x",)))

    for caught, capability in ((labels, "classify"), (vectors, "embed")):
        assert caught.value.reason == "MODEL_CAPABILITY_MISSING"
        assert caught.value.metadata["field"] == "model"
        assert capability in caught.value.metadata["suggested_fix"]


async def test_a_model_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        await readings(SCORES).classify("t", Question(LABELS, "gpt"), "x")

    assert caught.value.reason == "MODEL_NOT_FOUND"


async def test_all_texts_of_a_request_count_together() -> None:
    question = Question(LABELS, instructions="i" * 500, examples=(Example("e" * 300, "a"),))

    with pytest.raises(InvalidArgument) as caught:
        await readings(SCORES).batch_classify("t", question, ["x" * 100] * 2)

    assert caught.value.metadata["field"] == "inputs"


async def test_texts_whose_answer_fits_no_message_are_refused_before_they_are_read() -> None:
    labels = tuple(f"{number} {'字' * 120}" for number in range(100))
    asked = len(SCORES.asked)

    with pytest.raises(InvalidArgument) as caught:
        await Readings(Few(SCORES), 10**6, lambda: NOW).batch_classify(
            "t", Question(labels), ["x"] * 128
        )

    assert caught.value.metadata["field"] == "inputs"
    assert caught.value.metadata["suggested_fix"] == "send at most 81 texts at a time"
    assert len(SCORES.asked) == asked


async def test_vectors_that_fit_no_message_are_refused_with_how_many_do() -> None:
    class WideEngine(OneTrickEngine):
        async def embed(self, embedding: Embedding) -> Embedded:
            return Embedded(tuple((0.0,) * 65_536 for _ in embedding.inputs), 1)

    wide = WideEngine("wide", Capability.EMBED)

    with pytest.raises(InvalidArgument) as caught:
        await readings(wide).embed("t", Embedding("", ("x",) * 13))
    fitting = await readings(wide).embed("t", Embedding("", ("x",) * 12))

    assert caught.value.metadata["suggested_fix"] == "send at most 12 texts at a time"
    assert len(fitting.vectors) == 12


def test_the_model_is_told_the_labels_then_shown_examples_and_then_the_text() -> None:
    question = Question(LABELS, instructions="Judge it.", examples=(Example("e", "b"),))

    asked = scoring(question, "x", "m")

    told, *shown = [(each.role, each.content) for each in asked.messages]
    assert told[0] == "system"
    assert told[1].startswith("Judge it.\n\n")
    assert told[1].endswith("\n- a\n- b")
    assert shown == [("user", "e"), ("assistant", "b"), ("user", "x")]


def test_labels_that_are_as_likely_stay_in_their_order() -> None:
    assert [each.label for each in ranked(("c", "a", "b"), (-1.0, -0.5, -1.0))] == ["a", "c", "b"]


def test_the_rate_leaves_out_the_wait() -> None:
    model = SCORES.models()[0]

    assert Reading(model, NOW, Usage(90, 10), 1_500, 500).tokens_per_second == 100
    assert Reading(model, NOW, Usage(90, 10), 0, 0).tokens_per_second == 0


def test_what_failed_counts_for_nothing() -> None:
    items = [
        Classified((), Usage(5, 2, 1), 3.0),
        ServiceError("X", "x"),
        Classified((), Usage(1, 1), 7.0),
    ]

    assert together(items) == (Usage(6, 3, 1), 7.0)
    assert together([]) == (Usage(0, 0, 0), 0.0)
