"""The engines that the settings name. Part of the composition root."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from services.inference.building import read_facts
from services.inference.catalogue import Own
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
from services.inference.engines.vllm.embedding import VllmEmbeddingEngine
from services.inference.engines.vllm.engine import VllmEngine
from services.inference.engines.vllm.options import Options, checked
from services.inference.ports import Engine
from services.inference.settings import (
    EchoSettings,
    LlamacppSettings,
    OpenAISettings,
    Settings,
    VllmModelSettings,
    VllmSettings,
)


def own_engines(settings: Settings) -> Own | None:
    """They, and what is shown of their model; None where there are only the models of a file.

    Raises:
        FailedPrecondition: as `engines_of`.
    """
    if not settings.has_engine:
        return None
    price = (settings.price.input_usd, settings.price.output_usd)
    if settings.engine != "llamacpp":
        return Own(engines_of(settings), price)
    path = located(settings.llamacpp.model_path, settings.llamacpp.model_name).path
    return Own(engines_of(settings), price, partial(read_facts, path))


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
        is_embedding=settings.is_embedding,
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
        settings.model_name or name_of(settings.model),
        settings.url,
        settings.model,
        DIALECTS[settings.dialect],
        schema=settings.schema_mode,
        has_tools=settings.has_tools,
        is_embedding=settings.is_embedding,
        bounds=Bounds(**settings.model_dump(include={field.name for field in fields(Bounds)})),
        **same,
    )
    return OpenAIEngine(upstream, trusted, _key(settings))


def _key(settings: OpenAISettings) -> Key | None:
    if settings.api_key_file is not None:
        return keys.in_file(settings.api_key_file, setting="INFERENCE_OPENAI__API_KEY_FILE")
    return None if settings.api_key is None else keys.fixed(settings.api_key.get_secret_value())
