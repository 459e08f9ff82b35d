"""The composition root: the only place that names engines."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import Final

from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore
from services.chassis.hotstore.open import hot_store
from services.chassis.hotstore.port import HotStore
from services.chassis.paging import Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.inference.catalogue import Engines
from services.inference.engines.chat import Defaults
from services.inference.engines.echo import EchoEngine, Speed
from services.inference.engines.llamacpp import LlamacppEngine, Sizes
from services.inference.engines.model_file import located
from services.inference.ports import Engine
from services.inference.rpc.inference import InferenceServicer
from services.inference.settings import EchoSettings, LlamacppSettings, Settings
from services.inference.usecases.inference import Inference
from services.inference.usecases.readings import Readings

DOMAIN: Final = "inference.runplane.dev"
SERVICE: Final = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Stores:
    """Where this service keeps what outlives it, and what need not."""

    events: EventStore
    hot: HotStore


@asynccontextmanager
async def opened(shared: SharedSettings) -> AsyncIterator[Stores]:
    """This service's stores, until the context is left.

    Raises:
        FailedPrecondition, Unavailable: one of them cannot be opened.
    """
    async with (
        event_store(shared.event_store, service="inference") as events,
        hot_store(shared.hot_store) as hot,
    ):
        yield Stores(events, hot)


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
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(opened(shared))
        engines = Engines([engine_of(settings)])
        stack.push_async_callback(engines.close)
        inference = Inference(engines, settings.stream.merge, settings.limits.prompt_bytes, now)
        servicer = InferenceServicer(
            inference,
            Readings(engines, settings.limits.prompt_bytes, now),
            Pager(bytes.fromhex(shared.page_token_key.get_secret_value()), "models"),
            partial(ids.new, "req"),
            (settings.price.input_usd, settings.price.output_usd),
        )
        yield await stack.enter_async_context(
            serving(
                settings.server,
                domain=DOMAIN,
                register=[partial(pb_grpc.add_InferenceServiceServicer_to_server, servicer)],
                services=[SERVICE],
                prepare=engines.load,
            )
        )


def engine_of(settings: Settings) -> Engine:
    """The engine that the settings name, not yet loaded.

    Raises:
        FailedPrecondition: `ENGINE_NOT_INSTALLED`; a wheel or a file is missing.
    """
    return _echo(settings.echo) if settings.engine == "echo" else _llamacpp(settings.llamacpp)


def _echo(settings: EchoSettings) -> EchoEngine:
    speed = Speed(settings.first_delay, settings.delay)
    return EchoEngine(
        speed=speed, tokens=settings.tokens, slots=settings.slots, queue=settings.queue
    )


def _llamacpp(settings: LlamacppSettings) -> LlamacppEngine:
    return LlamacppEngine(
        located(settings.model_path, settings.model_name),
        Sizes(**settings.model_dump(include={field.name for field in fields(Sizes)})),
        Defaults(settings.temperature, settings.top_p, settings.default_max_tokens),
        is_embedding=settings.embedding,
    )
