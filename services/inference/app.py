"""The composition root: the only place that names engines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from runplane.inference.v1 import batches_pb2, batches_pb2_grpc, models_pb2, models_pb2_grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.egress.addresses import Allowed, Denied
from services.chassis.egress.client import Egress
from services.chassis.egress.secrets import StoredSecrets
from services.chassis.errors import Unavailable
from services.chassis.eventlog.open import event_store
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
from services.inference.building import Building, read_facts
from services.inference.catalogue import Engines, Own
from services.inference.engines.chat import Defaults
from services.inference.engines.echo.engine import EchoEngine, Speed
from services.inference.engines.llamacpp.engine import LlamacppEngine
from services.inference.engines.llamacpp.model_file import located
from services.inference.engines.llamacpp.server import Sizes
from services.inference.engines.openai_http import keys
from services.inference.engines.openai_http.dialect import DIALECTS
from services.inference.engines.openai_http.engine import OpenAIEngine
from services.inference.engines.openai_http.trusted import trusted
from services.inference.engines.openai_http.upstream import Bounds, Key, Upstream, name_of
from services.inference.engines.vllm import VllmEngine
from services.inference.engines.vllm_embedding import VllmEmbeddingEngine
from services.inference.engines.vllm_options import Options, checked
from services.inference.following import Following, following
from services.inference.mapping import batches as batch_mapping
from services.inference.mapping.inference import Schemas
from services.inference.ports import Engine
from services.inference.rpc import models as of_models
from services.inference.rpc.batches import BatchServicer
from services.inference.rpc.inference import InferenceServicer
from services.inference.rpc.models import ModelServicer
from services.inference.settings import (
    EchoSettings,
    LlamacppSettings,
    OpenAISettings,
    Settings,
    VllmModelSettings,
    VllmSettings,
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
        measured = Metrics()
        measured.include(metrics.families(lambda: engines.engines))
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
    own, chosen = _own(settings), settings.egress
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


def _own(settings: Settings) -> Own | None:
    if not settings.has_engine:
        return None
    price = (settings.price.input_usd, settings.price.output_usd)
    if settings.engine != "llamacpp":
        return Own(engines_of(settings), price)
    path = located(settings.llamacpp.model_path, settings.llamacpp.model_name).path
    return Own(engines_of(settings), price, partial(read_facts, path))


async def _check_url(egress: Egress, url: str) -> None:
    """Refuse what is not called from here. A name without an address may get one."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with suppress(Unavailable):
        await egress.resolve(parts.hostname or "", port)


def engines_of(settings: Settings) -> Sequence[Engine]:
    """The engines that the settings name, not yet loaded.

    Raises:
        FailedPrecondition: `ENGINE_NOT_INSTALLED`, a wheel or a file is missing;
            `ENGINE_MISCONFIGURED`, it cannot be as the settings want it.
    """
    match settings.engine:
        case "echo":
            return [_echo(settings.echo)]
        case "openai":
            return [_openai(settings.openai)]
        case "vllm":
            return _vllm(settings.vllm)
        case "llamacpp":
            return [_llamacpp(settings.llamacpp)]


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


def _vllm(settings: VllmSettings) -> Sequence[Engine]:
    options = Options(
        **_model(settings),
        max_tokens=settings.default_max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        adapters=settings.lora,
    )
    engines: list[Engine] = [VllmEngine(checked(options))]
    if (embedding := settings.embedding) is not None:
        variable = f"{options.variable}EMBEDDING__"
        beside = Options(
            **_model(embedding), pooling=embedding.pooling, is_measured=False, variable=variable
        )
        engines.append(VllmEmbeddingEngine(checked(beside)))
    return engines


def _model(settings: VllmModelSettings) -> dict[str, Any]:
    told = settings.model_dump(include={"model", "slots", "queue", "context_tokens", "arguments"})
    return {**told, "name": settings.name}


def _openai(settings: OpenAISettings) -> OpenAIEngine:
    same = settings.model_dump(
        include={"context_tokens", "default_max_tokens", "slots", "queue", "limit_field"}
    )
    upstream = Upstream(
        settings.name or name_of(settings.model),
        settings.url,
        settings.model,
        DIALECTS[settings.dialect],
        schema=settings.schema_mode,
        has_tools=settings.tools,
        is_embedding=settings.embedding,
        bounds=Bounds(**settings.model_dump(include={field.name for field in fields(Bounds)})),
        **same,
    )
    return OpenAIEngine(upstream, trusted, _key(settings))


def _key(settings: OpenAISettings) -> Key | None:
    if settings.api_key_file is not None:
        return keys.in_file(settings.api_key_file, setting="INFERENCE_OPENAI__API_KEY_FILE")
    return None if settings.api_key is None else keys.fixed(settings.api_key.get_secret_value())
