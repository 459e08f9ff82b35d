"""Tallies and holds in memory."""

from collections.abc import Callable, Sequence
from datetime import datetime

from services.chassis.eventlog.tallies import (
    NOTHING,
    Amounts,
    Held,
    Hold,
    Tally,
    Want,
    is_within,
    plus,
)


class MemoryTallies:
    """Of all tenants."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._tallies: dict[tuple[str, str], Amounts] = {}
        self._holds: dict[tuple[str, str], tuple[datetime, Sequence[Want]]] = {}

    def add(self, tenant: str, tallies: Sequence[Tally], spent: Sequence[str]) -> None:
        """Add these up, and let go of what was held for them."""
        for tally in tallies:
            key = tenant, tally.name
            self._tallies[key] = plus(self._tallies.get(key, NOTHING), tally.amounts)
        for hold_id in spent:
            self._holds.pop((tenant, hold_id), None)

    def hold(self, tenant: str, hold: Hold) -> Held:
        """See `EventStore.hold`."""
        self._holds.pop((tenant, hold.id), None)
        now = self._now()
        self._holds = {key: each for key, each in self._holds.items() if each[0] > now}
        used = [self._used(tenant, want) for want in hold.wants]
        held = [self._held(tenant, want) for want in hold.wants]
        fits = all(map(is_within, hold.wants, used, held))
        if fits:
            self._holds[tenant, hold.id] = now + hold.lasts, hold.wants
        return Held(fits, used, held)

    def tallied(self, tenant: str, first: str, last: str, limit: int) -> Sequence[Tally]:
        """See `EventStore.tallied`."""
        names = sorted(name for of, name in self._tallies if of == tenant and first <= name <= last)
        return [Tally(name, self._tallies[tenant, name]) for name in names[:limit]]

    def _used(self, tenant: str, want: Want) -> Amounts:
        used = NOTHING
        for (of, name), amounts in self._tallies.items():
            if of == tenant and want.first <= name <= want.last:
                used = plus(used, amounts)
        return used

    def _held(self, tenant: str, want: Want) -> Amounts:
        held = NOTHING
        for (of, _), (_, wants) in self._holds.items():
            for each in wants:
                if of == tenant and each.account == want.account:
                    held = plus(held, each.amounts)
        return held
