"""The models that this process serves, each by its engine."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.chassis.errors import NotFound
from services.inference.domain.model import Model
from services.inference.ports import Engine, Serving


@dataclass(frozen=True, slots=True)
class Engines:
    """Engines that are there from the start. The default model is the first one's."""

    engines: Sequence[Engine]

    async def load(self) -> None:
        """Get all of them ready.

        Raises:
            Unavailable: `ENGINE_FAILED`; one of them cannot.
        """
        await asyncio.gather(*(engine.load() for engine in self.engines))

    async def close(self) -> None:
        """Let go of all of them."""
        for engine in self.engines:
            await engine.close()

    async def check(self) -> None:
        """Whether all of them can still do their work.

        Raises:
            Unavailable: `ENGINE_FAILED`; one is dead.
        """
        for engine in self.engines:
            await engine.check()

    def find(self, tenant: str, name: str, *, field: str = "model") -> Serving:
        """See `Catalogue`."""
        served = self._served()
        if not name:
            return served[0]
        for serving in served:
            if serving.model.name == name:
                return serving
        raise _not_found(name, [each.model.name for each in served], field)

    def models(self, tenant: str) -> Sequence[Model]:
        """See `Catalogue`."""
        return [serving.model for serving in self._served()]

    def _served(self) -> Sequence[Serving]:
        return [Serving(model, engine) for engine in self.engines for model in engine.models()]


def _not_found(name: str, names: Sequence[str], field: str) -> NotFound:
    known = ", ".join(names)
    default = f"; or leave it out for {names[0]}" if field == "model" else ""
    return NotFound(
        "MODEL_NOT_FOUND",
        f"there is no model {name[:64]!r}; known: {known}",
        model=name[:64],
        known=known,
        field=field,
        suggested_fix=f"use one of: {known}{default}",
    )
