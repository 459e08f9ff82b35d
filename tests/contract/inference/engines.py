"""The engines that keep the contract: how each is started here, and what it can do.

Each comes loaded, with `SLOTS` slots and room for `QUEUE` to wait. Most run in every environment;
the others are asked for by name: `RUNPLANE_TEST_ENGINES=vllm pytest tests/contract/inference`.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.inference.domain.model import Capability
from services.inference.domain.request import JSON
from services.inference.engines.chat import Defaults
from services.inference.engines.echo.engine import EchoEngine
from services.inference.engines.llamacpp.engine import LlamacppEngine
from services.inference.engines.llamacpp.model_file import located
from services.inference.engines.llamacpp.server import Sizes
from services.inference.engines.openai_http.dialect import DIALECTS
from services.inference.engines.openai_http.engine import OpenAIEngine
from services.inference.engines.openai_http.trusted import trusted
from services.inference.engines.openai_http.upstream import Bounds, Upstream
from services.inference.engines.vllm.embedding import VllmEmbeddingEngine
from services.inference.engines.vllm.engine import CAPABILITIES, VllmEngine
from services.inference.engines.vllm.options import Options, checked
from services.inference.ports import Engine
from tests.contract.inference import vllm_server
from tests.contract.inference.llamacpp_server import KEY, llamacpp_server

SLOTS: Final = 2
QUEUE: Final = 1
CONTEXT_TOKENS: Final = 1_024
EMBEDDED_TOKENS: Final = 256
DEFAULTS: Final = Defaults(temperature=0.2, top_p=0.9, max_tokens=512)


ON_A_CPU: Final[dict[str, JSON]] = {
    "dtype": "bfloat16",
    "enforce_eager": True,  # Compiling takes minutes.
    "kv_cache_memory_bytes": 2**28,
    "block_size": 32,
}
"""Arguments of vLLM for a small model on a small machine."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An engine of the table."""

    running: Callable[[], AbstractAsyncContextManager[Engine]]
    capabilities: frozenset[Capability]
    """What its model can do. It is told here, too, for tests are chosen before anything starts."""
    is_everywhere: bool = True
    """Whether it runs in the environment that `make dev` makes."""


@asynccontextmanager
async def _echo() -> AsyncIterator[Engine]:
    yield EchoEngine(slots=SLOTS, queue=QUEUE)


@asynccontextmanager
async def _llamacpp() -> AsyncIterator[Engine]:
    sizes = Sizes(slots=SLOTS, queue=QUEUE, context_tokens=CONTEXT_TOKENS)
    engine = LlamacppEngine(located(None, None), sizes, DEFAULTS)
    await engine.load()
    yield engine
    await engine.close()


@asynccontextmanager
async def _llamacpp_embedding() -> AsyncIterator[Engine]:
    sizes = Sizes(slots=SLOTS, queue=QUEUE, context_tokens=EMBEDDED_TOKENS)
    engine = LlamacppEngine(located(None, None), sizes, DEFAULTS, is_embedding=True)
    await engine.load()
    yield engine
    await engine.close()


@asynccontextmanager
async def upstream(
    dialect: str, url: str, model: str, key: str, **more: object
) -> AsyncIterator[Engine]:
    """An engine that asks an upstream."""

    async def read() -> str:
        return key

    asked = Upstream("upstream", url, model, DIALECTS[dialect], slots=SLOTS, queue=QUEUE, **more)
    engine = OpenAIEngine(asked, trusted, read)
    await engine.load()
    yield engine
    await engine.close()


@asynccontextmanager
async def _upstream_llamacpp() -> AsyncIterator[Engine]:
    async with (
        llamacpp_server(SLOTS, CONTEXT_TOKENS) as url,
        upstream("llamacpp", url, "smollm2", KEY) as engine,
    ):
        yield engine


@asynccontextmanager
async def _upstream_embedding() -> AsyncIterator[Engine]:
    async with (
        llamacpp_server(SLOTS, EMBEDDED_TOKENS, is_embedding=True) as url,
        upstream("llamacpp", url, "smollm2", KEY, is_embedding=True) as engine,
    ):
        yield engine


@asynccontextmanager
async def _upstream_vllm() -> AsyncIterator[Engine]:
    bounds = Bounds(start=timedelta(minutes=3))
    async with (
        vllm_server.vllm_server(SLOTS, CONTEXT_TOKENS) as url,
        upstream("vllm", url, "smollm2", vllm_server.KEY, bounds=bounds) as engine,
    ):
        yield engine


def _vllm_options(**more: object) -> Options:
    model = os.environ["RUNPLANE_TEST_VLLM_MODEL"]
    told = {"slots": SLOTS, "queue": QUEUE, "context_tokens": CONTEXT_TOKENS} | more
    return checked(Options(model, "smollm2", **told, arguments=ON_A_CPU))


@asynccontextmanager
async def _vllm() -> AsyncIterator[Engine]:
    options = _vllm_options(temperature=DEFAULTS.temperature, top_p=DEFAULTS.top_p)
    engine = VllmEngine(options)
    await engine.load()
    yield engine
    await engine.close()


@asynccontextmanager
async def _vllm_embedding() -> AsyncIterator[Engine]:
    options = _vllm_options(context_tokens=EMBEDDED_TOKENS, pooling="mean", is_measured=False)
    engine = VllmEmbeddingEngine(options)
    await engine.load()
    yield engine
    await engine.close()


_TURNS: Final = frozenset({Capability.GENERATE, Capability.CONTINUE, Capability.SCHEMA})
_EMBED: Final = frozenset({Capability.EMBED})

ENGINES: Final[dict[str, Kind]] = {
    "echo": Kind(_echo, _TURNS | {Capability.CLASSIFY} | _EMBED),
    "llamacpp": Kind(_llamacpp, _TURNS | {Capability.CLASSIFY}),
    "llamacpp-embedding": Kind(_llamacpp_embedding, _EMBED),
    "vllm": Kind(_vllm, CAPABILITIES, is_everywhere=False),
    "vllm-embedding": Kind(_vllm_embedding, _EMBED, is_everywhere=False),
    "upstream-llamacpp": Kind(_upstream_llamacpp, _TURNS | {Capability.CLASSIFY}),
    "upstream-embedding": Kind(_upstream_embedding, _EMBED),
    "upstream-vllm": Kind(_upstream_vllm, _TURNS | {Capability.CLASSIFY}, is_everywhere=False),
}


def chosen() -> list[str]:
    """The engines to ask: those that the environment names, else all that run everywhere."""
    named = os.environ.get("RUNPLANE_TEST_ENGINES", "")
    return named.split(",") if named else [name for name in ENGINES if ENGINES[name].is_everywhere]
