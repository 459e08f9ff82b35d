"""The composition root. Engines are named by `own` and `building`, adapters only here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from runplane.inference.v1 import batches_pb2, batches_pb2_grpc, models_pb2, models_pb2_grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.egress.addresses import Allowed, Denied
from services.chassis.egress.client import Egress
from services.chassis.egress.secrets import StoredSecrets
from services.chassis.errors import Unavailable
from services.chassis.eventlog.open import event_store_of
from services.chassis.eventlog.port import EventStore
from services.chassis.hotstore.open import hot_store
from services.chassis.hotstore.port import HotStore
from services.chassis.metrics import Metrics
from services.chassis.operations import rpc as operations_rpc
from services.chassis.operations.runner import Setup, operating
from services.chassis.paging import Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.inference import metrics
from services.inference.adapters.batchdesk import EventStoreBatchDesk
from services.inference.adapters.batchlog import EventStoreBatches
from services.inference.adapters.models_file import read_models
from services.inference.adapters.modelstore import EventStoreModels
from services.inference.batching.figures import of_batches
from services.inference.batching.gate import Gate
from services.inference.batching.turn import World
from services.inference.batching.worker import Sizes as BatchSizes
from services.inference.batching.worker import working
from services.inference.building import Building
from services.inference.catalogue import Engines
from services.inference.following import Following, following
from services.inference.mapping import batches as batch_mapping
from services.inference.mapping.inference import Schemas
from services.inference.own import own_engines
from services.inference.rpc import models as of_models
from services.inference.rpc.batches import BatchServicer
from services.inference.rpc.inference import InferenceServicer
from services.inference.rpc.models import ModelServicer
from services.inference.settings import (
    Settings,
)
from services.inference.usecases.batches import Batches
from services.inference.usecases.batches import Bounds as BatchBounds
from services.inference.usecases.inference import Inference
from services.inference.usecases.models import Models, Rules
from services.inference.usecases.readings import Readings
from services.inference.watch import watched

DOMAIN: Final = "inference.runplane.dev"
SERVICES: Final = [
    pb.DESCRIPTOR.services_by_name["InferenceService"].full_name,
    models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
    batches_pb2.DESCRIPTOR.services_by_name["BatchService"].full_name,
    operations_rpc.SERVICE,
]


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
        event_store_of(shared, "inference") as events,
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
    pager = partial(Pager, bytes.fromhex(shared.page_token_key.get_secret_value()))
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stores = await enter(opened(shared))
        engines, followed, models = await enter(_shelved(settings, stores, now))
        setup = Setup(ids.new("operator"), DOMAIN, now, partial(ids.new, "op"))
        handlers = of_models.handlers(models)
        operations = await enter(operating(stores.events, stores.hot, handlers, setup))
        inference = Inference(engines, settings.stream.merge, settings.limits.prompt_bytes, now)
        model_servicer = ModelServicer(models, operations, pager("models"))
        readings = Readings(engines, settings.limits.prompt_bytes, now)
        new_id = partial(ids.new, "req")
        servicer = InferenceServicer(inference, readings, model_servicer, new_id)
        of_operations = operations_rpc.OperationsServicer(operations, pager("operations"))
        measured = Metrics([metrics.of_models(lambda: engines.failed)])
        measured.include(metrics.families(lambda: engines.engines))
        measured.show(*inference.measures.all(), *stores.events.measures.all())
        batch_servicer = await enter(_batches(settings, shared, stores, inference, measured))
        server = await enter(
            serving(
                settings.server,
                domain=DOMAIN,
                register=[
                    partial(pb_grpc.add_InferenceServiceServicer_to_server, servicer),
                    partial(models_pb2_grpc.add_ModelServiceServicer_to_server, model_servicer),
                    partial(batches_pb2_grpc.add_BatchServiceServicer_to_server, batch_servicer),
                    partial(operations_rpc.add_to_server, of_operations),
                ],
                services=SERVICES,
                prepare=partial(_prepared, engines, followed),
                metrics=measured,
            )
        )
        await enter(following(followed, stores.hot, settings.catalogue.look))
        await enter(watched(engines.check, server.health))
        yield server


@asynccontextmanager
async def _shelved(
    settings: Settings, stores: Stores, now: Callable[[], datetime]
) -> AsyncIterator[tuple[Engines, Following, Models]]:
    """The models of this process; what is loaded is let go of when the context is left."""
    declared = read_models(settings.models) if settings.models is not None else ()
    own, chosen = own_engines(settings), settings.egress
    allowed, never = Allowed.parsed(chosen.allow), Denied.parsed(chosen.deny)
    secrets = StoredSecrets(settings.secrets.folder, settings.secrets.values)
    async with (
        Egress(allowed, never, settings="INFERENCE_EGRESS") as egress,
        asyncio.TaskGroup() as group,
    ):
        building = Building(settings.models_dir, secrets, egress.client)
        engines = Engines(own, building, group, most_loaded=settings.catalogue.most_loaded)
        store = EventStoreModels(stores.events)
        followed = Following(engines, store, stores.hot, declared)
        rules = Rules(settings.catalogue.most, partial(_check_url, egress))
        try:
            yield engines, followed, Models(store, engines, followed, rules, now)
        finally:
            await engines.close()


@asynccontextmanager
async def _batches(
    settings: Settings,
    shared: SharedSettings,
    stores: Stores,
    inference: Inference,
    measured: Metrics,
) -> AsyncIterator[BatchServicer]:
    """Batches, which run from here on as engines are loaded, until the context is left."""
    chosen, schemas = settings.batch, Schemas()
    log = EventStoreBatches(stores.events, stores.hot, schemas)
    desk = EventStoreBatchDesk(stores.events, ids.new("batches"), chosen.lease)
    gate = Gate(inference.catalogue, chosen.max_items)
    world = World(log, replace(inference, merge=chosen.pace), gate, inference.now)
    sizes = BatchSizes(chosen.max_running, chosen.lease / 4, chosen.look)
    async with working(desk, world, sizes) as worker:
        measured.add(*of_batches(worker, gate))
        batches = Batches(
            log,
            desk,
            worker,
            inference.catalogue,
            BatchBounds(settings.limits.prompt_bytes, chosen.max_open, chosen.duration),
            batch_mapping.placed,
            inference.now,
            partial(ids.new, "batch"),
        )
        pager = partial(Pager, bytes.fromhex(shared.page_token_key.get_secret_value()))
        yield BatchServicer(batches, schemas, (pager("batches"), pager("batch_items")))


async def _prepared(engines: Engines, followed: Following) -> None:
    """Load the settings' own model, and what else is declared; what cannot be loaded says so."""
    await engines.load()
    await followed.see()
    await engines.loaded()


async def _check_url(egress: Egress, url: str) -> None:
    """Refuse what is not called from here. A name without an address may get one."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with suppress(Unavailable):
        await egress.resolve(parts.hostname or "", port)
