"""What callers can do with the catalogue."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from weakref import WeakValueDictionary

from services.chassis.errors import (
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Violation,
    invalid,
)
from services.chassis.eventlog.port import Key
from services.chassis.starts import check_length, once, owned
from services.inference.domain import entry_document
from services.inference.domain.entry import Entry, Listed, OpenAi, Source, State
from services.inference.domain.entry_document import ENTRY, RUNS
from services.inference.domain.entry_refusals import conflict, missing, taken
from services.inference.ports import Follows, ModelStore, Shelf

OPERATORS: Final = "default"
"""The tenant that may load and unload what is declared: that of whoever runs the service."""
_CHANGEABLE: Final = frozenset({*ENTRY, *RUNS} - {"name"})


@dataclass(frozen=True, slots=True)
class Rules:
    """Which models tenants may create."""

    most: int
    """Of one tenant."""
    check_url: Callable[[str], Awaitable[None]]
    """Raises for a URL that is not called from here."""


@dataclass(frozen=True, slots=True)
class Models:
    """Keeps, shows, loads and unloads models."""

    store: ModelStore
    shelf: Shelf
    follows: Follows
    rules: Rules
    now: Callable[[], datetime]
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Of a tenant, one after another looks what there is and adds to it."""

    async def create(
        self, tenant: str, subject: str, said: object, *, key: str, fingerprint: str
    ) -> Listed:
        """Keep a new entry, or find the one that the idempotency key stands for."""
        entry = entry_document.made(said, Source.API, field="model")
        check_length(key)
        now = self.now()
        entry = replace(entry, owner=subject, create_time=now, update_time=now)
        if not key:
            made = await self._create(tenant, entry, None)
        else:
            owns = owned("model", subject, key, fingerprint)
            made = await once(
                owns,
                lambda: self.store.kept(tenant, owns),
                lambda name: self._stored(tenant, name),
                lambda: self._create(tenant, entry, owns),
            )
        await self.follows.look()
        return self.shelf.seen(tenant, made.name)

    async def _create(self, tenant: str, entry: Entry, key: Key | None) -> Entry:
        await self._check_target(entry)
        async with self._turns.setdefault(tenant, asyncio.Lock()):
            await self._check_names(tenant, entry)
            await self._check_room(tenant)
            return await self.store.add(tenant, entry, key)

    async def _check_room(self, tenant: str) -> None:
        most = self.rules.most
        if await self.store.count(tenant, most) >= most:
            message = f"there are {most} models, the most a tenant may have"
            fix = "delete one first"
            raise ResourceExhausted("TOO_MANY_MODELS", message, limit=str(most), suggested_fix=fix)

    def page(self, tenant: str, *, after: str) -> Sequence[Listed]:
        """Those with a name after this one, in the order of names."""
        listed = sorted(self.shelf.listed(tenant), key=lambda each: each.entry.name)
        return [each for each in listed if each.entry.name > after]

    async def get(self, tenant: str, name: str) -> Listed:
        """The one of a name or an alias. Another process may have just created it."""
        try:
            return self.shelf.seen(tenant, name)
        except NotFound:
            await self.follows.see()
            return self.shelf.seen(tenant, name)

    async def update(
        self, tenant: str, name: str, said: Mapping[str, object], mask: Sequence[str], revision: int
    ) -> Listed:
        """Replace members of an entry; what changes nothing is no change."""
        old = await self._changeable(tenant, name)
        if said.get("name", old.name) != old.name:
            fix = "leave it out; a model keeps its name"
            raise invalid(Violation("model.name", f"is not {old.name}", fix))
        if revision not in {0, old.revision}:
            raise conflict(old.name)
        new = entry_document.made(_merged(old.document, said, mask), Source.API, field="model")
        if dict(new.document) == dict(old.document):
            return await self.get(tenant, old.name)
        await self._check_target(new)
        changed = replace(
            new,
            owner=old.owner,
            revision=old.revision,
            create_time=old.create_time,
            update_time=self.now(),
        )
        async with self._turns.setdefault(tenant, asyncio.Lock()):
            await self._check_names(tenant, new)
            await self.store.change(tenant, changed)
        await self.follows.look()
        return self.shelf.seen(tenant, old.name)

    async def delete(self, tenant: str, name: str) -> None:
        """Let there be no such entry any more."""
        entry = await self._changeable(tenant, name)
        await self.store.remove(tenant, entry, self.now())
        await self.follows.look()

    async def check_operable(self, tenant: str, name: str, *, is_unload: bool = False) -> str:
        """The name of a model that this tenant may load or unload, by any of its names.

        Raises:
            NotFound: `MODEL_NOT_FOUND`.
            PermissionDenied: `MODEL_NOT_YOURS`.
            FailedPrecondition: `MODEL_NOT_CHANGEABLE`; it stays loaded.
        """
        return (await self._operable(tenant, name, is_unload=is_unload)).name

    async def _operable(self, tenant: str, name: str, *, is_unload: bool) -> Entry:
        entry = (await self.get(tenant, name)).entry
        if entry.source is not Source.API and tenant != OPERATORS:
            message = (
                f"{entry.name} is everybody's: only the tenant {OPERATORS} loads and unloads it"
            )
            raise PermissionDenied("MODEL_NOT_YOURS", message, model=entry.name, field="name")
        if entry.source is Source.SETTINGS and is_unload:
            raise _unchangeable(entry, "it stays loaded: declare it in a file of models instead")
        return entry

    async def load(self, tenant: str, name: str) -> Listed:
        """Have a model loaded, in every process; return when this one has it.

        Raises:
            ServiceError: why it cannot be loaded.
        """
        await self.shelf.known()
        listed = await self.get(tenant, name)
        if listed.state is State.READY and listed.is_wanted:
            return listed
        await self._want(tenant, name, is_wanted=True)
        settled = await self.shelf.settled(tenant, name)
        if settled.failure is not None:
            raise settled.failure
        if settled.state is not State.READY:
            message = f"{name} was unloaded meanwhile"
            fix = f"load it again: POST /v1/models/{name}:load"
            raise FailedPrecondition("MODEL_NOT_LOADED", message, model=name, suggested_fix=fix)
        return await self.get(tenant, name)

    async def unload(self, tenant: str, name: str) -> Listed:
        """Have a model unloaded, in every process; return when this one has ended its requests."""
        await self.shelf.known()
        await self._want(tenant, name, is_wanted=False)
        await self.shelf.settled(tenant, name)
        return await self.get(tenant, name)

    async def stop_loading(self, tenant: str, name: str) -> None:
        """Let a model be unloaded, without waiting for it; let one be that is gone, or stays."""
        with suppress(NotFound, FailedPrecondition):
            await self._want(tenant, name, is_wanted=False)

    async def _want(self, tenant: str, name: str, *, is_wanted: bool) -> None:
        """Asked once more whose it is: it may have been deleted since, and a declared one of the
        same name have come to light."""
        entry = await self._operable(tenant, name, is_unload=not is_wanted)
        if entry.source is Source.API:
            await self.store.want(tenant, entry.name, self.now(), is_wanted=is_wanted)
        else:
            await self.store.wish(entry.name, self.now(), is_wanted=is_wanted)
        await self.follows.look()

    async def _stored(self, tenant: str, name: str) -> Entry:
        if (entry := await self.store.find(tenant, name)) is None:
            raise missing(name)
        return entry

    async def _changeable(self, tenant: str, name: str) -> Entry:
        """An entry of this tenant's own."""
        if (entry := await self.store.find(tenant, name)) is not None:
            return entry
        seen = (await self.get(tenant, name)).entry
        if seen.source is not Source.API:
            raise _unchangeable(seen, "change it there, or create one of another name")
        return await self._stored(tenant, seen.name)

    async def _check_names(self, tenant: str, entry: Entry) -> None:
        """Refuse names that others go by."""
        await self.follows.see()
        for each in self.shelf.listed(tenant):
            if each.entry.source is Source.API and each.entry.name == entry.name:
                continue  # The entry itself, or one that the store refuses.
            if both := set(entry.names) & set(each.entry.names):
                raise taken(min(both))

    async def _check_target(self, entry: Entry) -> None:
        if isinstance(entry.runs_on, OpenAi):
            try:
                await self.rules.check_url(entry.runs_on.url)
            except FailedPrecondition as error:
                error.metadata["field"] = "model.openai.url"
                raise


def _merged(
    old: Mapping[str, object], said: Mapping[str, object], mask: Sequence[str]
) -> Mapping[str, object]:
    for index, name in enumerate(mask):
        if name not in _CHANGEABLE:
            fix = f"use {', '.join(sorted(_CHANGEABLE))}"
            fault = f"is {name[:64]!r}, which cannot be changed"
            raise invalid(Violation(f"update_mask[{index}]", fault, fix))
    runs = RUNS.keys() & set(mask)
    dropped = RUNS.keys() if runs & said.keys() else set()
    kept = {name: value for name, value in old.items() if name not in {*mask, *dropped}}
    return {**kept, **{name: said[name] for name in mask if name in said}}


def _unchangeable(entry: Entry, fix: str) -> FailedPrecondition:
    where = {Source.FILE: "in the file of INFERENCE_MODELS", Source.SETTINGS: "in the settings"}
    place = where.get(entry.source, "elsewhere")
    return FailedPrecondition(
        "MODEL_NOT_CHANGEABLE",
        f"{entry.name} is declared {place}",
        model=entry.name,
        field="name",
        suggested_fix=fix,
    )
