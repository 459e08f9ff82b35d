"""Engines for entries of the catalogue. Part of the composition root."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from services.chassis.errors import FailedPrecondition
from services.inference.domain.entry import NO_FACTS, Echo, Entry, Facts, Llamacpp
from services.inference.engines import gguf, model_folder
from services.inference.engines.chat import Defaults
from services.inference.engines.echo import EchoEngine, Speed
from services.inference.engines.llamacpp import LlamacppEngine, Sizes
from services.inference.engines.model_file import ModelFile
from services.inference.ports import Built
from services.inference.settings import LlamacppSettings

DEFAULTS: Final = LlamacppSettings()
_ECHO_SLOTS: Final = 256


@dataclass(frozen=True, slots=True)
class Building:
    """See `Builder`."""

    models_dir: Path

    async def __call__(self, entry: Entry) -> Built:
        """See `Builder`."""
        builders: Mapping[type, Callable[[Entry, Any], Awaitable[Built]]] = {
            Llamacpp: self._llamacpp,
            Echo: _echo,
        }
        build = builders.get(type(entry.runs_on))
        if build is None:
            message = f"there is no engine {entry.engine} here"
            raise FailedPrecondition("ENGINE_NOT_INSTALLED", message, engine=entry.engine)
        return await build(entry, entry.runs_on)

    async def _llamacpp(self, entry: Entry, runs_on: Llamacpp) -> Built:
        if find_spec("xllamacpp") is None:
            message = "llama.cpp's wheel xllamacpp is missing: run `make install`"
            raise FailedPrecondition("ENGINE_NOT_INSTALLED", message, engine="llamacpp")
        path, header = await asyncio.to_thread(self._looked_at, runs_on)
        slots = entry.slots or DEFAULTS.slots
        tokens = entry.context_tokens or DEFAULTS.context_tokens
        model_folder.check_memory(path, header, tokens * slots)
        engine = LlamacppEngine(
            ModelFile(path, entry.name),
            Sizes(
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
        )
        return Built(engine, _facts(header), model_folder.explaining(path, header))

    def _looked_at(self, runs_on: Llamacpp) -> tuple[Path, gguf.Header]:
        path = model_folder.path_of(runs_on, self.models_dir)
        return path, model_folder.checked(path)


async def _echo(entry: Entry, runs_on: Echo) -> Built:
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
