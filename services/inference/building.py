"""Engines for entries of the catalogue. Part of the composition root."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, cast

from services.chassis.egress.lookups import on_behalf
from services.chassis.egress.secrets import StoredSecrets
from services.chassis.errors import FailedPrecondition
from services.inference.domain.entry import (
    EVERYBODY,
    NO_FACTS,
    Echo,
    Entry,
    Facts,
    Llamacpp,
    OpenAi,
)
from services.inference.engines import gguf
from services.inference.engines.chat import Defaults
from services.inference.engines.echo.engine import EchoEngine, Speed
from services.inference.engines.llamacpp import model_folder, server
from services.inference.engines.llamacpp.engine import LlamacppEngine
from services.inference.engines.llamacpp.model_file import ModelFile
from services.inference.engines.openai_http.dialect import DIALECTS, SchemaMode
from services.inference.engines.openai_http.engine import OpenAIEngine
from services.inference.engines.openai_http.trusted import trusted
from services.inference.engines.openai_http.upstream import Bounds, Connect, Upstream
from services.inference.ports import Built
from services.inference.settings import LlamacppSettings, OpenAISettings
from services.inference.usecases.models import OPERATORS

DEFAULTS: Final = LlamacppSettings()
OPENAI: Final = OpenAISettings()
_PATIENCE: Final = timedelta(seconds=10)
"""With an upstream that does not answer yet."""
_ECHO_SLOTS: Final = 256
_MEMBERS: Final = {
    "url": "openai.url",
    "model": "openai.model",
    "api_key": "openai.secret",
    "context_tokens": "context_tokens",
}
"""What an entry calls what the settings of an upstream have."""


@dataclass(frozen=True, slots=True)
class Building:
    """See `Builder`."""

    models_dir: Path
    secrets: StoredSecrets
    connect: Connect
    """To what tenants name; what is declared may be anywhere."""

    async def __call__(self, tenant: str, entry: Entry) -> Built:
        """See `Builder`."""
        on_behalf.set(tenant)  # Names that are slow to be found hold up no other tenant's.
        match entry.runs_on:
            case Llamacpp() as runs_on:
                return await self._llamacpp(entry, runs_on)
            case OpenAi() as runs_on:
                return self._openai(tenant, entry, runs_on)
            case Echo() as runs_on:
                return _echo(entry, runs_on)
            case None:
                raise AssertionError("the settings' own engine is not built here")

    def _openai(self, tenant: str, entry: Entry, runs_on: OpenAi) -> Built:
        upstream = Upstream(
            entry.name,
            runs_on.url,
            runs_on.model or entry.name,
            DIALECTS[runs_on.dialect],
            context_tokens=entry.context_tokens or None,
            default_max_tokens=entry.default_max_tokens or OPENAI.default_max_tokens,
            slots=entry.slots or OPENAI.slots,
            queue=runs_on.queue,
            schema=cast("SchemaMode | None", runs_on.schema_mode or None),
            has_tools=runs_on.has_tools,
            is_embedding=runs_on.is_embedding,
            limit_field=runs_on.limit_field,
            bounds=Bounds(start=_PATIENCE),
            setting=_MEMBERS.__getitem__,
        )
        connect = trusted if tenant == EVERYBODY else self.connect
        owner = OPERATORS if tenant == EVERYBODY else tenant
        key = partial(self.secrets.get, owner, runs_on.secret) if runs_on.secret else None
        return Built(OpenAIEngine(upstream, connect, key))

    async def _llamacpp(self, entry: Entry, runs_on: Llamacpp) -> Built:
        if find_spec("xllamacpp") is None:
            message = "llama.cpp's wheel xllamacpp is missing: run `make install`"
            raise FailedPrecondition("ENGINE_NOT_INSTALLED", message, engine="llamacpp")
        path, header = await asyncio.to_thread(self._looked_at, runs_on)
        slots = entry.slots or DEFAULTS.slots
        tokens = entry.context_tokens or DEFAULTS.context_tokens
        contexts = server.contexts(slots, is_embedding=runs_on.is_embedding)
        model_folder.check_memory(path, header, tokens * contexts)
        engine = LlamacppEngine(
            ModelFile(path, entry.name),
            server.Sizes(
                slots=slots,
                queue=runs_on.queue,
                context_tokens=tokens,
                batch_tokens=DEFAULTS.batch_tokens,
                prompt_cache_mib=DEFAULTS.prompt_cache_mib,
                threads=runs_on.threads or None,
            ),
            Defaults(
                runs_on.temperature,
                runs_on.top_p,
                entry.default_max_tokens or DEFAULTS.default_max_tokens,
            ),
            is_embedding=runs_on.is_embedding,
        )
        return Built(engine, _facts(header), model_folder.explaining(path, header))

    def _looked_at(self, runs_on: Llamacpp) -> tuple[Path, gguf.Header]:
        path = model_folder.path_of(runs_on, self.models_dir)
        return path, model_folder.checked(path)


def _echo(entry: Entry, runs_on: Echo) -> Built:
    speed = Speed(
        timedelta(milliseconds=runs_on.first_delay_ms), timedelta(milliseconds=runs_on.delay_ms)
    )
    return Built(EchoEngine(speed=speed, slots=entry.slots or _ECHO_SLOTS, queue=runs_on.queue))


def read_facts(path: Path) -> Facts:
    """What is shown of a model's file; nothing of one that cannot be read. Blocks."""
    try:
        return _facts(gguf.header(path))
    except (OSError, ValueError):
        return NO_FACTS


def _facts(header: gguf.Header) -> Facts:
    return Facts(header.quantization, header.tokenizer)
