"""Labels and vectors of texts over a real socket, with the echo engine."""

import asyncio
import math
from collections.abc import Sequence

import grpc
import pytest
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis.settings import SharedSettings
from services.inference.app import running
from services.inference.settings import EchoSettings, Settings
from tests.integration.inference.conftest import LOOPBACK
from tests.integration.inference.test_inference_rpc import asking, failure, once_free

Client = pb_grpc.InferenceServiceStub
LABELS = ["POSITIVE", "NEGATIVE", "NEUTRAL"]
CODES = {
    "MODEL_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "ENGINE_FAILED": grpc.StatusCode.UNAVAILABLE,
}


def classifying(
    text: str, examples: Sequence[tuple[str, str]] = (), **more: object
) -> pb.ClassifyRequest:
    shown = [{"input": given, "label": label} for given, label in examples]
    return pb.ClassifyRequest(**{"input": text, "labels": LABELS, "examples": shown, **more})


async def until_busy(client: Client, priority: str = "interactive") -> None:
    """Without a queue, a refusal means that all slots there are for the priority are taken."""
    while True:
        try:
            await client.Generate(asking("hello", priority=priority))
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                return
            raise


async def test_labels_come_with_the_likeliest_first_and_scores_that_sum_to_1(
    client: Client,
) -> None:
    response = await client.Classify(classifying("How negative, just negative."))

    assert response.status == "completed"
    assert response.id.startswith("req_")
    assert [each.label for each in response.results] == ["NEGATIVE", "POSITIVE", "NEUTRAL"]
    assert abs(math.fsum(each.score for each in response.results) - 1) <= 1e-9
    assert [each.confidence for each in response.results] == [
        each.score for each in response.results
    ]
    assert response.results[0].score == pytest.approx(math.exp(6) / (math.exp(6) + 2))


async def test_a_classification_says_what_it_took_and_what_did_it(client: Client) -> None:
    response = await client.Classify(classifying("Good."))

    assert response.usage.prompt_tokens > response.usage.completion_tokens == 3
    assert response.metrics.latency_ms > 0
    assert response.metrics.tokens_per_second > 0
    assert (response.metadata.model, response.metadata.model_version) == ("echo", "1")
    assert response.metadata.timestamp.seconds
    assert response.metadata.trace_id


async def test_instructions_and_examples_are_part_of_the_prompt(client: Client) -> None:
    bare = await client.Classify(classifying("Good."))

    told = await client.Classify(
        classifying(
            "Good.",
            instructions="Judge the mood of it.",
            examples=[("I love it so", "POSITIVE")],
        )
    )

    assert told.usage.prompt_tokens == bare.usage.prompt_tokens + 5 + (4 + 1) + (1 + 1)


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (classifying(""), "INVALID_REQUEST", "input"),
        (classifying("x" * 600_000), "INVALID_REQUEST", "input"),
        (classifying("word " * 40_000), "CONTEXT_WINDOW_EXCEEDED", "input"),
        (classifying("x", labels=[]), "INVALID_REQUEST", "labels"),
        (classifying("x", labels=["one"]), "INVALID_REQUEST", "labels"),
        (classifying("x", labels=map(str, range(101))), "INVALID_REQUEST", "labels"),
        (classifying("x", labels=["a", "b", "a"]), "INVALID_REQUEST", "labels[2]"),
        (classifying("x", labels=["a", " \n"]), "INVALID_REQUEST", "labels[1]"),
        (classifying("x", labels=["a", "b" * 129]), "INVALID_REQUEST", "labels[1]"),
        (
            classifying("x", examples=[("y", "Z")]),
            "INVALID_REQUEST",
            "examples[0].label",
        ),
        (classifying("x", examples=[("", "NEUTRAL")]), "INVALID_REQUEST", "examples[0].input"),
        (
            classifying("x", examples=[("y", "NEUTRAL")] * 65),
            "INVALID_REQUEST",
            "examples",
        ),
        (classifying("x", priority="soon"), "INVALID_REQUEST", "priority"),
        (classifying("x", model="gpt"), "MODEL_NOT_FOUND", "model"),
        (classifying("fail"), "ENGINE_FAILED", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_classifications_are_refused_with_reason_and_field(
    client: Client, request_: pb.ClassifyRequest, reason: str, field: str
) -> None:
    code, info, _ = await failure(client.Classify(request_))

    assert code == CODES.get(reason, grpc.StatusCode.INVALID_ARGUMENT)
    assert (info.reason, info.metadata.get("field", "")) == (reason, field)
    assert info.metadata["suggested_fix"] or reason == "ENGINE_FAILED"


async def test_of_several_texts_each_is_classified_or_says_why_not(client: Client) -> None:
    inputs = ["so positive", "", "fail", "word " * 40_000, "NEUTRAL"]

    response = await client.BatchClassify(pb.BatchClassifyRequest(inputs=inputs, labels=LABELS))

    assert (response.status, response.completed, response.failed) == ("partial", 2, 3)
    assert [each.index for each in response.items] == list(range(5))
    assert [each.results[0].label if each.results else "" for each in response.items] == [
        "POSITIVE", "", "", "", "NEUTRAL",
    ]  # fmt: skip
    assert [each.error.error_code for each in response.items] == [
        "", "INVALID_REQUEST", "ENGINE_FAILED", "CONTEXT_WINDOW_EXCEEDED", "",
    ]  # fmt: skip
    assert [each.HasField("error") for each in response.items] == [False, True, True, True, False]
    assert "inputs[3]" in response.items[3].error.message
    assert response.usage.prompt_tokens > 0


@pytest.mark.parametrize(
    ("inputs", "status"), [(["a", "b"], "completed"), (["fail", ""], "failed")]
)
async def test_several_texts_say_whether_all_or_none_were_classified(
    client: Client, inputs: list[str], status: str
) -> None:
    response = await client.BatchClassify(pb.BatchClassifyRequest(inputs=inputs, labels=LABELS))

    assert response.status == status


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (pb.BatchClassifyRequest(labels=LABELS), "INVALID_REQUEST", "inputs"),
        (pb.BatchClassifyRequest(inputs=["x"] * 129, labels=LABELS), "INVALID_REQUEST", "inputs"),
        (pb.BatchClassifyRequest(inputs=["x"], labels=["a"]), "INVALID_REQUEST", "labels"),
        (
            pb.BatchClassifyRequest(inputs=["x"], labels=LABELS, model="gpt"),
            "MODEL_NOT_FOUND",
            "model",
        ),
    ],
    ids=["none", "many", "labels", "model"],
)
async def test_several_texts_that_cannot_succeed_are_refused_together(
    client: Client, request_: pb.BatchClassifyRequest, reason: str, field: str
) -> None:
    code, info, _ = await failure(client.BatchClassify(request_))

    assert code == CODES.get(reason, grpc.StatusCode.INVALID_ARGUMENT)
    assert (info.reason, info.metadata["field"]) == (reason, field)


async def test_several_texts_leave_a_slot_to_others() -> None:
    settings = Settings(engine="echo", server=LOOPBACK, echo=EchoSettings(slots=2, queue=0))
    shared = SharedSettings(page_token_key="ab" * 32)
    async with (
        asyncio.timeout(20),
        running(settings, shared) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        client = Client(channel)
        texts = ["sleep:600000"] * 8
        batch = client.BatchClassify(pb.BatchClassifyRequest(inputs=texts, labels=LABELS))
        await until_busy(client, "batch")

        answers = [await client.Generate(asking("hello")) for _ in range(5)]
        batch.cancel()

    assert [each.text for each in answers] == ["hello"] * 5


async def test_texts_that_are_not_done_before_the_deadline_fail_and_the_others_do_not(
    client: Client,
) -> None:
    inputs = ["positive", "sleep:600000", "negative"]
    request = pb.BatchClassifyRequest(inputs=inputs, labels=LABELS)

    response = await client.BatchClassify(request, timeout=1)
    after = await client.BatchClassify(
        pb.BatchClassifyRequest(inputs=["x"] * 8, labels=LABELS), timeout=5
    )

    assert (response.status, response.completed) == ("partial", 2)
    assert response.items[1].error.error_code == "DEADLINE_EXCEEDED"
    assert after.status == "completed"


async def test_a_batch_of_which_nothing_is_done_in_time_fails_as_a_whole(client: Client) -> None:
    request = pb.BatchClassifyRequest(inputs=["sleep:600000"] * 2, labels=LABELS)

    code, info, _ = await failure(client.BatchClassify(request, timeout=1))

    assert (code, info.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("method", ["Classify", "BatchClassify", "Embed"])
async def test_what_is_cancelled_frees_its_slots(method: str) -> None:
    settings = Settings(engine="echo", server=LOOPBACK, echo=EchoSettings(slots=1, queue=0))
    requests = {
        "Classify": classifying("sleep:600000"),
        "BatchClassify": pb.BatchClassifyRequest(inputs=["sleep:600000"] * 3, labels=LABELS),
        "Embed": pb.EmbedRequest(inputs=["sleep:600000"]),
    }
    shared = SharedSettings(page_token_key="ab" * 32)
    async with (
        asyncio.timeout(20),
        running(settings, shared) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        client = Client(channel)
        call = getattr(client, method)(requests[method])
        await until_busy(client)
        call.cancel()
        response = await once_free(client, asking("hello"))

    assert response.text == "hello"


async def test_texts_become_vectors_of_length_1_in_their_order(client: Client) -> None:
    response = await client.Embed(pb.EmbedRequest(inputs=["the sea", "a whale", "the sea"]))

    assert [each.index for each in response.embeddings] == [0, 1, 2]
    first, second, third = (list(each.values) for each in response.embeddings)
    assert first == third != second
    assert math.hypot(*first) == pytest.approx(1.0, abs=1e-6)
    assert (response.status, response.usage.prompt_tokens) == ("completed", 6)
    assert response.id.startswith("req_")
    assert response.metrics.latency_ms > 0
    assert response.metadata.model == "echo"


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (pb.EmbedRequest(), "INVALID_REQUEST", "inputs"),
        (pb.EmbedRequest(inputs=["x"] * 129), "INVALID_REQUEST", "inputs"),
        (pb.EmbedRequest(inputs=["x" * 300_000, "x" * 300_000]), "INVALID_REQUEST", "inputs"),
        (pb.EmbedRequest(inputs=["x", ""]), "INVALID_REQUEST", "inputs[1]"),
        (pb.EmbedRequest(inputs=["x", "w " * 40_000]), "CONTEXT_WINDOW_EXCEEDED", "inputs[1]"),
        (pb.EmbedRequest(inputs=["x"], model="gpt"), "MODEL_NOT_FOUND", "model"),
        (pb.EmbedRequest(inputs=["x"], priority="soon"), "INVALID_REQUEST", "priority"),
    ],
    ids=["none", "many", "large", "empty", "window", "model", "priority"],
)
async def test_bad_embeddings_are_refused_with_reason_and_field(
    client: Client, request_: pb.EmbedRequest, reason: str, field: str
) -> None:
    code, info, _ = await failure(client.Embed(request_))

    assert code == CODES.get(reason, grpc.StatusCode.INVALID_ARGUMENT)
    assert (info.reason, info.metadata["field"]) == (reason, field)
    assert info.metadata["suggested_fix"]
