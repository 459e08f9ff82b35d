"""The engines that keep the contract: how each is started here, and what it can do.

Each comes loaded, with `SLOTS` slots and room for `QUEUE` to wait. Most run in every environment;
the others are asked for by name: `RUNPLANE_TEST_ENGINES=vllm pytest tests/contract/inference`.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from services.inference.domain.model import Capability
from services.inference.engines.chat import Defaults
from services.inference.engines.echo import EchoEngine
from services.inference.engines.llamacpp import LlamacppEngine, Sizes
from services.inference.engines.model_file import located
from services.inference.engines.openai_http.dialect import DIALECTS
from services.inference.engines.openai_http.engine import OpenAIEngine
from services.inference.engines.openai_http.trusted import trusted
from services.inference.engines.openai_http.upstream import Upstream
from services.inference.ports import Engine
from tests.contract.inference.llamacpp_server import KEY, llamacpp_server

SLOTS: Final = 2
QUEUE: Final = 1
CONTEXT_TOKENS: Final = 1_024
DEFAULTS: Final = Defaults(temperature=0.2, top_p=0.9, max_tokens=512)


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


_TURNS: Final = frozenset({Capability.GENERATE, Capability.CONTINUE, Capability.SCHEMA})

ENGINES: Final[dict[str, Kind]] = {
    "echo": Kind(_echo, _TURNS),
    "llamacpp": Kind(_llamacpp, _TURNS),
    "upstream-llamacpp": Kind(_upstream_llamacpp, _TURNS),
}


def chosen() -> list[str]:
    """The engines to ask: those that the environment names, else all that run everywhere."""
    named = os.environ.get("RUNPLANE_TEST_ENGINES", "")
    return named.split(",") if named else [name for name in ENGINES if ENGINES[name].is_everywhere]
