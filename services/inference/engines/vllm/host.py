"""A vLLM engine from its start to its end: what generating and embedding ones have in common."""

import asyncio
import hashlib
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.chassis.errors import Unavailable
from services.inference.engines.vllm.options import Options

if TYPE_CHECKING:
    from services.inference.engines.vllm.core import Core

RETRY_AFTER: Final = timedelta(seconds=1)
_LOADING_AGAIN: Final = timedelta(seconds=5)
_SAMPLE_BYTES: Final = 1024 * 1024


class Host:
    """Starts it, knows whether it is there, and stops it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.version = ""
        self._core: Core | None = None

    async def load(self) -> None:
        """Start it.

        Raises:
            FailedPrecondition: `ENGINE_MISCONFIGURED`.
            Unavailable: `ENGINE_FAILED`.
        """
        core = await asyncio.to_thread(_started, self.options)
        try:
            await core.prepare()
            self.version = await asyncio.to_thread(_version, self.options, core.commit)
        except BaseException:
            await asyncio.to_thread(core.close)
            raise
        self._core = core

    async def close(self) -> None:
        """Stop it."""
        core, self._core = self._core, None
        if core is not None:
            await asyncio.to_thread(core.close)

    async def check(self) -> None:
        """Whether it can still do its work. One that is not there yet can.

        Raises:
            Unavailable: `ENGINE_FAILED`.
        """
        if self._core is not None:
            await self._core.check()

    def ready(self) -> "Core":
        """The engine.

        Raises:
            Unavailable: `ENGINE_LOADING`.
        """
        if self._core is None:
            name = self.options.name
            message = f"{name} is being loaded; try again in a few seconds"
            raise Unavailable("ENGINE_LOADING", message, model=name).after(_LOADING_AGAIN)
        return self._core


def _started(options: Options) -> "Core":
    core: Core = import_module("services.inference.engines.vllm.core").started(options)
    return core


def _version(options: Options, commit: str | None) -> str:
    """What tells this model from others: of files that large, their sizes and ends."""
    if options.folder is None:
        return commit[:12] if commit else "unknown"
    folders = [options.folder, *options.adapters.values()]
    digest = hashlib.sha256(repr(sorted(options.arguments.items())).encode())
    for path in sorted(each for folder in folders for each in folder.iterdir() if each.is_file()):
        digest.update(path.name.encode() + _sample(path))
    return digest.hexdigest()[:12]


def _sample(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_SAMPLE_BYTES)
        file.seek(max(size - _SAMPLE_BYTES, 0))
        return b"%d" % size + start + file.read(_SAMPLE_BYTES)
