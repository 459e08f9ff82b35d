"""The composition root: the only place that names engines."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Final

from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.paging import Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.inference.engines.echo import EchoEngine, Speed
from services.inference.ports import Engine
from services.inference.rpc import InferenceServicer
from services.inference.settings import EchoSettings, Settings
from services.inference.usecases import Inference

DOMAIN: Final = "inference.runplane.dev"
SERVICE: Final = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@asynccontextmanager
async def running(
    settings: Settings,
    shared: SharedSettings,
    *,
    now: Callable[[], datetime] = utc_now,
) -> AsyncIterator[Running]:
    """Run the service. It listens at once and is ready when its model is loaded.

    Raises:
        FailedPrecondition: the engine's wheel or the model's file is missing.
        OSError: an address cannot be listened on.
    """
    async with engine_of(settings) as engine:
        inference = Inference(engine, settings.stream.merge, settings.limits.prompt_bytes, now)
        pager = Pager(bytes.fromhex(shared.page_token_key.get_secret_value()))
        servicer = InferenceServicer(inference, pager, partial(ids.new, "req"))
        async with serving(
            settings.server,
            domain=DOMAIN,
            register=[partial(pb_grpc.add_InferenceServiceServicer_to_server, servicer)],
            services=[SERVICE],
        ) as server:
            yield server


def engine_of(settings: Settings) -> AbstractAsyncContextManager[Engine]:
    """The engine that the settings name."""
    return nullcontext(_echo(settings.echo))


def _echo(settings: EchoSettings) -> EchoEngine:
    speed = Speed(settings.first_delay, settings.delay)
    return EchoEngine(
        speed=speed, tokens=settings.tokens, slots=settings.slots, queue=settings.queue
    )
