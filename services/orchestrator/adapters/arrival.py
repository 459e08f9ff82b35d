"""Whether the inference service is there yet, with a model that can be asked."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

import grpc
from runplane.inference.v1 import entries_pb2, models_pb2_grpc
from runplane.inference.v1 import inference_pb2 as pb

from services.chassis.client import unary
from services.chassis.errors import DeadlineExceeded, ServiceError
from services.chassis.settings import ClientSettings
from services.orchestrator.adapters.inference_grpc import USABLE
from services.orchestrator.retries import is_passing

SECONDS: Final = 2.0
_PAGE: Final = 1000
# A connection of its own: those that share one wait before they try again, after it was refused.
_ALONE: Final = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]


def arrival_of(settings: ClientSettings) -> Callable[[], Awaitable[bool]]:
    """What asks it."""
    return partial(_answers, settings.target)


async def _answers(target: str) -> bool:
    async with grpc.aio.insecure_channel(target, options=_ALONE) as asking:
        stub: models_pb2_grpc.ModelServiceAsyncStub = models_pb2_grpc.ModelServiceStub(asking)
        request = pb.ListModelsRequest(page_size=_PAGE)
        try:
            listed = await unary(stub.ListModels, request, timeout=SECONDS)
        except ServiceError as error:
            return not (is_passing(error) or isinstance(error, DeadlineExceeded))
    return _is_there(listed.models)


def _is_there(models: Iterable[pb.Model]) -> bool:
    """Whether one can be asked; or none is on its way, so that nothing is worth waiting for."""
    states = {each.state for each in models}
    return not states.isdisjoint(USABLE) or entries_pb2.MODEL_STATE_LOADING not in states
