"""Quotas on an event store: a stream for each, whose sequence is the version, and its record."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from runplane.orchestrator.v1 import usage_pb2 as pb

from services.chassis.errors import Aborted, AlreadyExists, ResourceExhausted
from services.chassis.eventlog.port import Append, Compare, EventStore, NewEvent, Query, Record
from services.orchestrator.adapters.cached import Cached
from services.orchestrator.domain.quota import Quota, missing
from services.orchestrator.mapping import usage as mapping

# A stored name is for ever. The body of each is the quota as it is from then on.
CREATED: Final = "quota.created.v1"
UPDATED: Final = "quota.updated.v1"
DELETED: Final = "quota.deleted.v1"
RECORD: Final = "quota"
MOST: Final = 256
"""Of one tenant: each is looked at before each call of a model."""
_ALL: Final = 2 * MOST
"""Replicas may add their last ones at the same time: those hold as well."""
_TENANTS: Final = 1024
_IS_THERE: Final = Compare("is_deleted", "=", False)


class EventStoreQuotas:
    """See `QuotaStore`. Lists for calls are up to `ttl` old, but know what changed here."""

    def __init__(self, store: EventStore, declared: Sequence[Quota], *, ttl: timedelta) -> None:
        self._store = store
        self._declared = sorted(declared, key=lambda quota: quota.quota_id)
        self._ttl = ttl
        self._known: OrderedDict[str, Cached[Sequence[Quota]]] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def of(self, tenant: str) -> Sequence[Quota]:
        """See `QuotaStore`."""
        if (cached := self._known.get(tenant)) is None:
            cached = self._known[tenant] = Cached(partial(self._all, tenant), self._ttl)
            if len(self._known) > _TENANTS:
                self._known.popitem(last=False)
        self._known.move_to_end(tenant)
        return await cached.get()

    async def get(self, tenant: str, quota_id: str) -> Quota:
        """See `QuotaStore`."""
        for quota in self._declared:
            if quota.quota_id == quota_id:
                return quota
        found = await self._store.record(tenant, RECORD, quota_id)
        if found is None or found.attributes["is_deleted"]:
            raise missing(quota_id)
        return _quota(found)

    async def create(self, tenant: str, quota: Quota) -> Quota:
        """See `QuotaStore`."""
        if any(each.quota_id == quota.quota_id for each in self._declared):
            raise _taken(quota)
        async with self._turns.setdefault(tenant, asyncio.Lock()):
            return await self._create(tenant, quota)

    async def _create(self, tenant: str, quota: Quota) -> Quota:
        if len(await self._own(tenant)) >= MOST:
            raise _too_many()
        found = await self._store.record(tenant, RECORD, quota.quota_id)
        if found is not None and not found.attributes["is_deleted"]:
            raise _taken(quota)
        quota = replace(quota, version=_quota(found).version + 1 if found else 1)
        try:
            await self._append(tenant, CREATED, quota)
        except Aborted:
            raise _taken(quota) from None
        return quota

    async def update(self, tenant: str, quota: Quota) -> None:
        """See `QuotaStore`."""
        await self._next(tenant, UPDATED, quota)

    async def delete(self, tenant: str, quota: Quota) -> None:
        """See `QuotaStore`."""
        await self._next(tenant, DELETED, replace(quota, version=quota.version + 1))

    async def _next(self, tenant: str, kind: str, quota: Quota) -> None:
        try:
            await self._append(tenant, kind, quota)
        except Aborted:
            raise Aborted(
                "QUOTA_VERSION_CONFLICT",
                f"{quota.quota_id} is no longer at version {quota.version - 1}",
                quota_id=quota.quota_id,
                version=str(quota.version - 1),
                suggested_fix="get the quota again and repeat the change",
            ) from None

    async def _append(self, tenant: str, kind: str, quota: Quota) -> None:
        body = mapping.quota_message(quota).SerializeToString()
        record = Record(RECORD, quota.quota_id, {"is_deleted": kind == DELETED}, body)
        time = quota.update_time
        if time is None:
            raise LookupError(quota.quota_id)
        events = [NewEvent(kind, time, body)]
        stream = f"quota/{quota.quota_id}"
        try:
            await self._store.append(
                Append(tenant, stream, quota.version - 1, events, records=[record])
            )
        finally:
            self._known.pop(tenant, None)

    async def _all(self, tenant: str) -> Sequence[Quota]:
        own = await self._own(tenant)
        return sorted([*self._declared, *own], key=lambda quota: quota.quota_id)

    async def _own(self, tenant: str) -> Sequence[Quota]:
        query = Query(tenant, RECORD, _IS_THERE, limit=_ALL, is_descending=False)
        return [_quota(record) for record in await self._store.records(query)]


def _quota(record: Record) -> Quota:
    return mapping.quota(pb.Quota.FromString(record.body))


def _taken(quota: Quota) -> AlreadyExists:
    return AlreadyExists(
        "QUOTA_ALREADY_EXISTS",
        f"there is a quota {quota.quota_id} already",
        quota_id=quota.quota_id,
        field="quota_id",
        suggested_fix="choose another quota_id, or PATCH the one that is there",
    )


def _too_many() -> ResourceExhausted:
    return ResourceExhausted(
        "TOO_MANY_QUOTAS",
        f"there are {MOST} quotas already, the most that a tenant may have",
        most=str(MOST),
        suggested_fix="delete some; one with an empty subject holds for each agent or session",
    )
