"""Whether the inference service is there yet."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis.client import unary
from services.chassis.errors import DeadlineExceeded, ServiceError
from services.chassis.settings import ClientSettings
from services.orchestrator.retries import is_passing

SECONDS: Final = 2.0
# A connection of its own: those that share one wait before they try again, after it was refused.
_ALONE: Final = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]


def arrival_of(settings: ClientSettings) -> Callable[[], Awaitable[bool]]:
    """What asks it."""
    return partial(_answers, settings.target)


async def _answers(target: str) -> bool:
    async with grpc.aio.insecure_channel(target, options=_ALONE) as asking:
        stub: pb_grpc.InferenceServiceAsyncStub = pb_grpc.InferenceServiceStub(asking)
        try:
            await unary(stub.ListModels, pb.ListModelsRequest(page_size=1), timeout=SECONDS)
        except ServiceError as error:
            return not (is_passing(error) or isinstance(error, DeadlineExceeded))
    return True
