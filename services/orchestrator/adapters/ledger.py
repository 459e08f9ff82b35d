"""What models took, as the event store's tallies."""

from collections.abc import Sequence
from datetime import date, timedelta

from services.chassis.eventlog.port import EventStore
from services.chassis.eventlog.tallies import Hold, Tally
from services.orchestrator.adapters import accounts
from services.orchestrator.domain.events import Spec
from services.orchestrator.domain.quota import MAX_DAYS, Bound, Scope, Usage


class EventStoreLedger:
    """See `Ledger`. A hold has its task's id: a task makes one call at a time."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def hold(
        self, spec: Spec, bounds: Sequence[Bound], takes: Usage, *, lasts: timedelta, today: date
    ) -> Sequence[Usage] | None:
        """See `Ledger`."""
        wants = [accounts.want(bound, takes, today) for bound in bounds]
        held = await self._store.hold(spec.tenant, Hold(spec.task_id, lasts, wants))
        return None if held.fits else [accounts.usage(each) for each in held.used]

    async def days(
        self, tenant: str, scope: Scope, subject: str, first: date, last: date
    ) -> Sequence[tuple[date, Usage]]:
        """See `Ledger`."""
        name, until = accounts.name(scope, subject, first), accounts.name(scope, subject, last)
        found: list[Tally] = []
        while page := await self._store.tallied(tenant, name, until, limit=MAX_DAYS):
            found += page
            if len(page) < MAX_DAYS:
                break
            name = accounts.next_name(page[-1].name)
        return [(accounts.parted(each)[1], accounts.usage(each.amounts)) for each in found]

    async def page(
        self, tenant: str, scope: Scope, *, after: str, limit: int
    ) -> Sequence[tuple[str, date, Usage]]:
        """See `Ledger`."""
        first, last = accounts.all_of(scope)
        if after:
            first = accounts.next_name(f"{scope.value}/{after}")
        found = await self._store.tallied(tenant, first, last, limit=limit)
        return [(*accounts.parted(each), accounts.usage(each.amounts)) for each in found]
