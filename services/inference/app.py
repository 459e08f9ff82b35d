"""The composition root: the only place that names engines."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore
from services.chassis.hotstore.open import hot_store
from services.chassis.hotstore.port import HotStore
from services.chassis.metrics import Metrics
from services.chassis.paging import Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.inference import metrics
from services.inference.catalogue import Engines
from services.inference.engines.chat import Defaults
from services.inference.engines.echo import EchoEngine, Speed
from services.inference.engines.llamacpp import LlamacppEngine, Sizes
from services.inference.engines.model_file import located
from services.inference.engines.openai_http import keys
from services.inference.engines.openai_http.dialect import DIALECTS
from services.inference.engines.openai_http.engine import OpenAIEngine
from services.inference.engines.openai_http.trusted import trusted
from services.inference.engines.openai_http.upstream import Bounds, Key, Upstream, name_of
from services.inference.engines.vllm import VllmEngine
from services.inference.engines.vllm_embedding import VllmEmbeddingEngine
from services.inference.engines.vllm_options import Options, checked
from services.inference.ports import Engine
from services.inference.rpc.inference import InferenceServicer
from services.inference.settings import (
    EchoSettings,
    LlamacppSettings,
    OpenAISettings,
    Settings,
    VllmModelSettings,
    VllmSettings,
)
from services.inference.usecases.inference import Inference
from services.inference.usecases.readings import Readings
from services.inference.watch import watched

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
        engines = Engines(engines_of(settings))
        stack.push_async_callback(engines.close)
        measured = Metrics()
        measured.include(metrics.families(lambda: engines.engines))
        inference = Inference(engines, settings.stream.merge, settings.limits.prompt_bytes, now)
        servicer = InferenceServicer(
            inference,
            Readings(engines, settings.limits.prompt_bytes, now),
            Pager(bytes.fromhex(shared.page_token_key.get_secret_value()), "models"),
            partial(ids.new, "req"),
            (settings.price.input_usd, settings.price.output_usd),
        )
        server = await stack.enter_async_context(
            serving(
                settings.server,
                domain=DOMAIN,
                register=[partial(pb_grpc.add_InferenceServiceServicer_to_server, servicer)],
                services=[SERVICE],
                prepare=engines.load,
                metrics=measured,
            )
        )
        await stack.enter_async_context(watched(engines.check, server.health))
        yield server


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
