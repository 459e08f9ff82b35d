"""The composition root: the only place that names engines."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from runplane.inference.v1 import batches_pb2, batches_pb2_grpc
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
from services.inference.adapters.batchdesk import EventStoreBatchDesk
from services.inference.adapters.batchlog import EventStoreBatches
from services.inference.batching.gate import Gate
from services.inference.batching.turn import World
from services.inference.batching.worker import Sizes as BatchSizes
from services.inference.batching.worker import working
from services.inference.catalogue import Engines
from services.inference.engines.chat import Defaults
from services.inference.engines.echo import EchoEngine, Speed
from services.inference.engines.llamacpp import LlamacppEngine, Sizes
from services.inference.engines.model_file import located
from services.inference.mapping import batches as batch_mapping
from services.inference.mapping.inference import Schemas
from services.inference.ports import Engine
from services.inference.rpc.batches import BatchServicer
from services.inference.rpc.inference import InferenceServicer
from services.inference.settings import EchoSettings, LlamacppSettings, Settings
from services.inference.usecases.batches import Batches, Bounds
from services.inference.usecases.inference import Inference

DOMAIN: Final = "inference.runplane.dev"
SERVICE: Final = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name
BATCHES: Final = batches_pb2.DESCRIPTOR.services_by_name["BatchService"].full_name


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
        stores = await stack.enter_async_context(opened(shared))
        engines = Engines([engine_of(settings)])
        stack.push_async_callback(engines.close)
        inference = Inference(engines, settings.stream.merge, settings.limits.prompt_bytes, now)
        servicer = InferenceServicer(
            inference,
            Pager(bytes.fromhex(shared.page_token_key.get_secret_value()), "models"),
            partial(ids.new, "req"),
            (settings.price.input_usd, settings.price.output_usd),
        )
        of_batches = await stack.enter_async_context(_batches(settings, shared, stores, inference))
        yield await stack.enter_async_context(
            serving(
                settings.server,
                domain=DOMAIN,
                register=[
                    partial(pb_grpc.add_InferenceServiceServicer_to_server, servicer),
                    partial(batches_pb2_grpc.add_BatchServiceServicer_to_server, of_batches),
                ],
                services=[SERVICE, BATCHES],
                prepare=engines.load,
            )
        )


@asynccontextmanager
async def _batches(
    settings: Settings, shared: SharedSettings, stores: Stores, inference: Inference
) -> AsyncIterator[BatchServicer]:
    """Batches, which run from here on as engines are loaded, until the context is left."""
    chosen, price, schemas = settings.batch, settings.price, Schemas()
    log = EventStoreBatches(stores.events, stores.hot, schemas)
    desk = EventStoreBatchDesk(stores.events, ids.new("batches"), chosen.lease)
    world = World(
        log,
        replace(inference, merge=chosen.pace),
        Gate(inference.catalogue, chosen.max_items),
        lambda model: (price.input_usd, price.output_usd),
        inference.now,
    )
    sizes = BatchSizes(chosen.max_running, chosen.lease / 4, chosen.look)
    async with working(desk, world, sizes) as worker:
        batches = Batches(
            log,
            desk,
            worker,
            inference.catalogue,
            Bounds(settings.limits.prompt_bytes, chosen.max_open, chosen.duration),
            batch_mapping.placed,
            inference.now,
            partial(ids.new, "batch"),
        )
        pager = partial(Pager, bytes.fromhex(shared.page_token_key.get_secret_value()))
        yield BatchServicer(batches, schemas, (pager("batches"), pager("batch_items")))


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
    )
