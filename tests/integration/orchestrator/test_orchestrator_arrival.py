"""From when on an orchestrator takes the models for there."""

import asyncio

import pytest
from runplane.inference.v1 import entries_pb2

from services.chassis.settings import ClientSettings
from services.orchestrator.adapters.arrival import arrival_of
from tests.integration.inference.models import service
from tests.servers.models import Mind, serving_models

pytestmark = pytest.mark.usefixtures("in_a_request")

UNLOADED, LOADING = entries_pb2.MODEL_STATE_UNLOADED, entries_pb2.MODEL_STATE_LOADING
READY, FAILED = entries_pb2.MODEL_STATE_READY, entries_pb2.MODEL_STATE_FAILED


async def are_there(target: str) -> bool:
    async with asyncio.timeout(10):
        return await arrival_of(ClientSettings(target=target))()


async def test_models_are_not_there_where_nobody_listens() -> None:
    assert not await are_there("127.0.0.1:1")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([LOADING], False),
        ([LOADING, FAILED, UNLOADED], False),
        ([READY], True),
        ([LOADING, READY], True),
        ([FAILED, FAILED], True),
        ([UNLOADED], True),
        ([], True),
    ],
)
async def test_models_are_there_when_one_can_be_asked_or_none_is_on_its_way(
    states: list[entries_pb2.ModelState], expected: bool
) -> None:
    minds = {f"model-{n}": Mind(facts={"state": state}) for n, state in enumerate(states)}
    async with serving_models(minds) as target:
        found = await are_there(target)

    assert found is expected


async def test_a_model_of_the_service_itself_is_there() -> None:
    async with service() as models:
        found = await are_there(models.address)

    assert found
