"""What callers can see of usage, and do with quotas."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime

from services.chassis.errors import Aborted, Violation, invalid
from services.orchestrator.domain import quota as qt
from services.orchestrator.domain.quota import Quota, Scope, Usage
from services.orchestrator.ports import Ledger, QuotaStore

Days = Sequence[tuple[date, Usage]]


class Usages:
    """Shows usage; keeps, shows and changes quotas."""

    def __init__(self, quotas: QuotaStore, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._quotas = quotas
        self._ledger = ledger
        self._now = now

    async def used(
        self, tenant: str, scope: Scope, subject: str, first: date | None, last: date | None
    ) -> tuple[date, date, Days]:
        """What was used from the first day, by default that of this month, to the last, by default
        today."""
        last = last or self._today()
        first = first or last.replace(day=1)
        _check_asked(scope, subject, first, last)
        return first, last, await self._ledger.days(tenant, scope, subject, first, last)

    async def page(
        self, tenant: str, scope: Scope, *, after: str, limit: int
    ) -> Sequence[tuple[str, date, Usage]]:
        """What each agent or session used, by day."""
        return await self._ledger.page(tenant, scope, after=after, limit=limit)

    async def create(self, tenant: str, quota: Quota) -> Quota:
        """Keep a new quota."""
        qt.check(quota)
        now = self._now()
        return await self._quotas.create(tenant, replace(quota, create_time=now, update_time=now))

    async def quotas(self, tenant: str) -> Sequence[Quota]:
        """All that hold for the tenant, by id."""
        return await self._quotas.of(tenant)

    async def get(self, tenant: str, quota_id: str) -> tuple[Quota, Usage | None]:
        """A quota, and what is used of it where it is of one subject."""
        quota = await self._quotas.get(tenant, quota_id)
        if quota.scope is not Scope.TENANT and not quota.subject:
            return quota, None
        first, last = qt.days(quota.period, self._today())
        days = await self._ledger.days(tenant, quota.scope, quota.subject, first, last)
        return quota, whole(days)

    async def update(
        self, tenant: str, quota_id: str, limits: tuple[float | None, float | None], version: int
    ) -> Quota:
        """Replace the limits of a quota."""
        quota = await self._quotas.get(tenant, quota_id)
        if version not in {0, quota.version}:
            raise Aborted(
                "QUOTA_VERSION_CONFLICT",
                f"{quota_id} is at version {quota.version}",
                quota_id=quota_id,
                version=str(quota.version),
                suggested_fix="get the quota again and repeat the change",
            )
        tokens, cost_usd = limits
        updated = qt.updated(quota, replace(quota, tokens=tokens, cost_usd=cost_usd), self._now())
        await self._quotas.update(tenant, updated)
        return updated

    async def delete(self, tenant: str, quota_id: str) -> None:
        """Let there be no such quota any more."""
        quota = await self._quotas.get(tenant, quota_id)
        qt.check_changeable(quota)
        await self._quotas.delete(tenant, replace(quota, update_time=self._now()))

    def _today(self) -> date:
        return self._now().date()


def whole(days: Days) -> Usage:
    """What was used in all of these days."""
    taken = [each for _, each in days]
    return Usage(
        sum(each.tokens for each in taken),
        sum(each.cost_usd for each in taken),
        sum(each.prompt_tokens for each in taken),
        sum(each.turns for each in taken),
    )


def _check_asked(scope: Scope, subject: str, first: date, last: date) -> None:
    if scope is Scope.TENANT and subject:
        raise invalid(Violation("subject", "is there for a whole tenant", "leave it out"))
    if scope is not Scope.TENANT and not subject:
        fix = f"send the {scope}'s id, or ask GET /v1/usage/{scope} for all"
        raise invalid(Violation("subject", "is missing", fix))
    if len(subject) > 64:
        raise invalid(Violation("subject", "is longer than 64 characters", "send an id"))
    if not 0 <= (last - first).days < qt.MAX_DAYS:
        fix = f"send an end_date up to {qt.MAX_DAYS} days after start_date"
        raise invalid(Violation("end_date", f"is {(last - first).days} days after it", fix))
