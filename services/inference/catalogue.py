"""The models that this process serves, each by its engine: the settings' own, and entries."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

from services.chassis.errors import NotFound, Unavailable
from services.inference.counted import Counted
from services.inference.domain.entry import (
    EVERYBODY,
    NO_FACTS,
    Entry,
    Facts,
    Listed,
    Source,
    State,
    Wanted,
)
from services.inference.domain.model import Capability, Model
from services.inference.held import Held, Room
from services.inference.ports import Builder, Engine, Serving

_KNOWN_NAMES: Final = 20
Place: TypeAlias = tuple[str, str]
"""A tenant and a name."""


@dataclass(frozen=True, slots=True)
class Own:
    """The engines that the settings name; the default model is the first one's."""

    engines: Sequence[Engine]
    price: tuple[float, float] = (0.0, 0.0)
    read_facts: Callable[[], Facts] | None = None
    """What its file says of its model. Blocks."""


class Engines:
    """See `Catalogue` and `Shelf`. What is wanted comes by `follow`."""

    def __init__(
        self, own: Own | None, build: Builder, group: asyncio.TaskGroup, *, most_loaded: int
    ) -> None:
        """Beside the settings' own engine, `most_loaded` models."""
        self._own = [Counted(engine) for engine in own.engines] if own is not None else []
        self._price = own.price if own is not None else (0.0, 0.0)
        self._read_facts = own.read_facts if own is not None else None
        self._facts = NO_FACTS
        self._build = build
        self._room = Room(most_loaded, asyncio.Lock())
        self._group = group
        self._held: dict[Place, Held] = {}
        self._aliases: dict[Place, Held] = {}
        self._leaving: list[Held] = []
        self._known = asyncio.Event()

    async def load(self) -> None:
        """Get the settings' own engines ready.

        Raises:
            Unavailable: `ENGINE_FAILED`; it cannot.
        """
        await asyncio.gather(*(engine.load() for engine in self._own))
        if self._read_facts is not None:
            self._facts = await asyncio.to_thread(self._read_facts)

    async def close(self) -> None:
        """Let go of all of them."""
        held = [*self._held.values(), *self._leaving]
        self._held, self._aliases = {}, {}
        await asyncio.gather(*(each.close() for each in held))
        for engine in self._own:
            await engine.close()

    async def check(self) -> None:
        """Whether the settings' own engines can still do their work.

        Raises:
            Unavailable: `ENGINE_FAILED`; one is dead.
        """
        for engine in self._own:
            await engine.check()

    def follow(self, wanted: Mapping[Place, Wanted]) -> None:
        """Have these entries from now on, and no others."""
        for place in self._held.keys() - wanted.keys():
            gone = self._held.pop(place)
            gone.follow(replace(gone.wanted, is_wanted=False))
            self._leaving.append(gone)
        self._leaving = [each for each in self._leaving if not each.is_at_rest]
        self._held = {place: self._followed(place, each) for place, each in wanted.items()}
        self._aliases = {
            (tenant, alias): held
            for (tenant, _), held in self._held.items()
            for alias in held.entry.aliases
        }
        self._known.set()

    def try_again(self) -> None:
        """Those whose engines were away: perhaps they have come back."""
        for held in self._held.values():
            held.again()

    def _followed(self, place: Place, wanted: Wanted) -> Held:
        held = self._held.get(place)
        if held is None:
            unwanted = replace(wanted, is_wanted=False)
            held = Held(
                unwanted, partial(self._build, place[0]), self._room, self._group.create_task
            )
        if held.wanted != wanted:
            held.follow(wanted)
        return held

    @property
    def engines(self) -> Sequence[Engine]:
        """Those of the settings and of what is declared, for whoever measures: they are few, and
        no two have a model of one name."""
        declared = [held.engine for (tenant, _), held in self._held.items() if tenant == EVERYBODY]
        return [*self._own, *(each for each in declared if each is not None)]

    @property
    def failed(self) -> Mapping[str, float]:
        """Of what is declared and wanted, what cannot be loaded is 1, for whoever measures; also
        while it is tried again."""
        return {
            name: float(held.has_failed)
            for (tenant, name), held in self._held.items()
            if tenant == EVERYBODY and held.wanted.is_wanted
        }

    def find(self, tenant: str, name: str, *, field: str = "model") -> Serving:
        """See `Catalogue`."""
        if not name:
            return self._default(tenant)
        if (held := self._holder(tenant, name)) is not None:
            return held.ask()
        for serving in self._own_models():
            if serving.model.name == name:
                return serving
        self._check_known()
        raise _not_found(name, [each.entry.name for each in self.listed(tenant)], field)

    def models(self, tenant: str) -> Sequence[Model]:
        """See `Catalogue`."""
        own = [serving.model for serving in self._own_models()]
        ready = [held.serving.model for held in self._of(tenant) if held.serving is not None]
        return [*own, *ready]

    def listed(self, tenant: str) -> Sequence[Listed]:
        """See `Shelf`."""
        self._check_known()
        own = [self._own_listed(serving) for serving in self._own_models()]
        listed = [*own, *(held.listed() for held in self._of(tenant))]
        first = next((each for each in listed if self._may_be_default(each)), None)
        return [replace(each, is_default=True) if each is first else each for each in listed]

    def seen(self, tenant: str, name: str, *, field: str = "name") -> Listed:
        """See `Shelf`."""
        listed = self.listed(tenant)
        for each in listed:
            if name in each.entry.names:
                return each
        raise _not_found(name, [each.entry.name for each in listed], field)

    async def known(self) -> None:
        """See `Shelf`."""
        await self._known.wait()

    async def settled(self, tenant: str, name: str) -> Listed:
        """See `Shelf`."""
        if (held := self._holder(tenant, name)) is not None:
            await held.settled()
            return held.listed()
        return self.seen(tenant, name)

    async def loaded(self) -> None:
        """Wait until what is declared is loaded, or cannot be."""
        declared = [held for (tenant, _), held in self._held.items() if tenant == EVERYBODY]
        await asyncio.gather(*(held.settled() for held in declared))

    def _default(self, tenant: str) -> Serving:
        for serving in self._own_models():
            return serving
        for held in self._of(tenant):
            if self._may_be_default(held.listed()):
                return held.ask()
        self._check_known()
        raise _not_found("", [], "model")

    @staticmethod
    def _may_be_default(listed: Listed) -> bool:
        if listed.model is not None:
            return Capability.GENERATE in listed.model.capabilities
        return not getattr(listed.entry.runs_on, "is_embedding", False)

    def _holder(self, tenant: str, name: str) -> Held | None:
        """A tenant's own goes before what is declared, and a name before an alias."""
        for place in ((tenant, name), (EVERYBODY, name)):
            if (held := self._held.get(place) or self._aliases.get(place)) is not None:
                return held
        return None

    def _of(self, tenant: str) -> Iterator[Held]:
        """What is declared, then the tenant's own."""
        for whose in (EVERYBODY, tenant):
            yield from (held for (owner, _), held in self._held.items() if owner == whose)

    def _own_models(self) -> Sequence[Serving]:
        return [
            Serving(model, engine, self._price) for engine in self._own for model in engine.models()
        ]

    def _own_listed(self, serving: Serving) -> Listed:
        model = serving.model
        entry = Entry(
            model.name,
            None,
            input_price_usd=self._price[0],
            output_price_usd=self._price[1],
            source=Source.SETTINGS,
        )
        return Listed(entry, State.READY, True, model, None, self._facts)

    def _check_known(self) -> None:
        if not self._known.is_set():
            raise Unavailable("ENGINE_LOADING", "models are being loaded; try again in a second")


def _not_found(name: str, names: Sequence[str], field: str) -> NotFound:
    known = ", ".join(names[:_KNOWN_NAMES]) or "none"
    default = f"; or leave it out for {names[0]}" if field == "model" and names else ""
    fix = f"use one of: {known}{default}" if names else "create one: POST /v1/models"
    return NotFound(
        "MODEL_NOT_FOUND",
        f"there is no model {name[:64]!r}; known: {known}",
        model=name[:64],
        known=known,
        field=field,
        suggested_fix=fix,
    )
