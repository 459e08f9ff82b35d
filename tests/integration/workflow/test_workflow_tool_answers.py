"""What a tool's answer means for the action that it is."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis.client import channel
from services.chassis.context import current, local_context
from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable
from services.chassis.settings import ClientSettings
from services.workflow.adapters.tools_grpc import GrpcTools
from services.workflow.domain.definition import Action, Kind
from services.workflow.domain.events import Spec
from services.workflow.domain.instance import Instance, Phase
from services.workflow.domain.outcomes import Failed, Outcome, Succeeded
from tests.servers.registry import Told, asks, failed, registry, success

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ACTION = Action("charge", Kind.TOOL, "charge")
INSTANCE = Instance(
    Spec("wf_1", "default", "local", "order", 1, "wf_1", "0" * 32),
    *(Phase.ACTIVE, "charging", {}, 1, NOW, NOW, 1, NOW),
)


async def outcome(
    answer: pb.CallToolResponse | ServiceError,
    instance: Instance = INSTANCE,
    *,
    is_idempotent: bool = True,
) -> Outcome:
    """What comes of an action whose tool answers this."""

    async def answered(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        assert request.idempotency_key == "wf_1/1/0"
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    current.set(local_context())
    async with (
        asyncio.timeout(5),
        registry() as there,
        channel(ClientSettings(target=there.address)) as opened,
    ):
        there.add("charge", is_idempotent=is_idempotent)
        there.answers["charge"] = answered
        return await GrpcTools(opened).run(ACTION, {}, key="wf_1/1/0", instance=instance)


async def test_a_result_is_its_output() -> None:
    done = await outcome(success({"payment_id": "p1"}))

    assert isinstance(done, Succeeded)
    assert done.output == {"payment_id": "p1"}


@pytest.mark.parametrize("is_uncertain", [False, True])
async def test_an_error_is_for_good_and_says_whether_it_may_have_been_done(
    is_uncertain: bool,
) -> None:
    answer = failed("TARGET_FAILED", "the target hung up")
    answer.error.is_uncertain = is_uncertain

    done = await outcome(answer)

    assert isinstance(done, Failed)
    assert (done.is_retryable, done.is_uncertain) == (False, is_uncertain)
    assert done.failure.reason == "TARGET_FAILED"


async def test_a_tool_that_asks_for_something_has_failed() -> None:
    done = await outcome(asks({"name": {"method": "elicitation/create"}}))

    assert isinstance(done, Failed)
    assert (done.failure.reason, done.is_uncertain) == ("TOOL_ASKS", False)


@pytest.mark.parametrize(
    ("error", "is_retryable", "is_uncertain"),
    [
        (Unavailable("TOOL_UNAVAILABLE", "it is away"), True, True),
        (Unavailable("TOOL_CIRCUIT_OPEN", "it was away").after(timedelta(seconds=1)), True, False),
        (ResourceExhausted("TOOLS_OVERLOADED", "wait").after(timedelta(seconds=1)), True, False),
        (ResourceExhausted("TOOL_QUOTA", "never again"), False, False),
    ],
)
async def test_what_may_do_better_is_tried_again_and_what_was_not_tried_is_not_undone(
    error: ServiceError, is_retryable: bool, is_uncertain: bool
) -> None:
    done = await outcome(error)

    assert isinstance(done, Failed)
    assert (done.is_retryable, done.is_uncertain) == (is_retryable, is_uncertain)
    assert done.retry_after == (error.retry_after or timedelta(0))


@pytest.mark.parametrize("is_idempotent", [False, True])
async def test_a_tool_that_may_have_been_called_is_called_again_only_if_it_is_idempotent(
    is_idempotent: bool,
) -> None:
    unsure = replace(INSTANCE, attempts=1, is_uncertain=True)

    done = await outcome(success({}), unsure, is_idempotent=is_idempotent)

    assert isinstance(done, Succeeded) == is_idempotent
    if isinstance(done, Failed):
        assert (done.failure.reason, done.is_retryable) == ("TOOL_NOT_IDEMPOTENT", False)
