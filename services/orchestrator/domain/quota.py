"""Quotas: what models may take for a tenant, an agent or a session, in a day, a month or in all.

Pure. Days and months are UTC's.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from services.chassis.errors import (
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    Violation,
    invalid,
)
from services.orchestrator.domain.events import Spec
from services.orchestrator.domain.named import NAME, NAME_FIX

MAX_TOKENS: Final = 10**15
MAX_COST_USD: Final = 10**12
MAX_DAYS: Final = 366


class Scope(StrEnum):
    """Whose use counts together."""

    TENANT = "tenant"
    AGENT = "agent"
    SESSION = "session"


class Period(StrEnum):
    """For how long it counts together."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Usage:
    """What models took."""

    tokens: float = 0.0
    """Of prompts and outputs together."""
    cost_usd: float = 0.0
    prompt_tokens: float = 0.0
    turns: float = 0.0


@dataclass(frozen=True, slots=True)
class Quota:
    """A bound. At least one of `tokens` and `cost_usd` is there."""

    quota_id: str
    scope: Scope
    subject: str
    """Of which agent or session; empty for each of them by itself, and for the tenant."""
    period: Period
    tokens: float | None
    cost_usd: float | None
    is_declared: bool = False
    """Whether it stands in the settings, and holds for every tenant."""
    version: int = 0
    create_time: datetime | None = None
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """A quota as it holds for one task."""

    quota: Quota
    subject: str

    @property
    def account(self) -> str:
        """What is held of it is counted by this."""
        return f"{self.quota.quota_id}/{self.subject}"


def bounds(quota: Quota, spec: Spec) -> Iterator[Bound]:
    """How a quota holds for a task, if it does."""
    for scope, subject in concerned(spec):
        if scope is quota.scope and quota.subject in {"", subject}:
            yield Bound(quota, subject)


def concerned(spec: Spec) -> Iterator[tuple[Scope, str]]:
    """Whose use a task's use is: its tenant's, and that of its agent and its session, if it has
    them."""
    yield Scope.TENANT, ""
    if spec.agent_id:
        yield Scope.AGENT, spec.agent_id
    if spec.session_id:
        yield Scope.SESSION, spec.session_id


def days(period: Period, today: date) -> tuple[date, date]:
    """The first and the last day that count together with this one."""
    if period is Period.DAY:
        return today, today
    if period is Period.TOTAL:
        return date.min, date.max
    next_month = (today.replace(day=28) + timedelta(days=4)).replace(day=1)
    return today.replace(day=1), next_month - timedelta(days=1)


def room(quota: Quota, used: Usage, prompt: Usage, output_usd: float) -> float:
    """How many tokens may be produced behind a prompt; less than 1 for none. `output_usd` is what
    one costs."""
    left = math.inf
    if quota.tokens is not None:
        left = quota.tokens - used.tokens - prompt.tokens
    if quota.cost_usd is not None:
        dollars = quota.cost_usd - used.cost_usd - prompt.cost_usd
        if dollars < 0 or output_usd:
            left = min(left, dollars / output_usd if output_usd else 0.0)
    return left


def check(quota: Quota) -> None:
    """Refuse what is no quota.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, with every fault.
    """
    if faults := [*_faults(quota)]:
        raise invalid(*faults)


def updated(quota: Quota, new: Quota, now: datetime) -> Quota:
    """The quota with the limits of another; of whom and for how long it is stays.

    Raises:
        FailedPrecondition: `QUOTA_DECLARED`.
        InvalidArgument: `INVALID_REQUEST`.
    """
    check_changeable(quota)
    changed = replace(
        quota,
        tokens=new.tokens,
        cost_usd=new.cost_usd,
        update_time=now,
        version=quota.version + 1,
    )
    check(changed)
    return changed


def check_changeable(quota: Quota) -> None:
    """Refuse to change what stands in the settings."""
    if quota.is_declared:
        raise FailedPrecondition(
            "QUOTA_DECLARED",
            f"{quota.quota_id} stands in the orchestrator's settings",
            quota_id=quota.quota_id,
            suggested_fix="change ORCHESTRATOR_QUOTAS, or create a quota of your own beside it",
        )


def missing(quota_id: str) -> NotFound:
    """That there is no such quota."""
    return NotFound(
        "QUOTA_NOT_FOUND",
        f"there is no quota {quota_id[:64]}",
        quota_id=quota_id[:64],
        field="quota_id",
        suggested_fix="use a quota_id of GET /v1/quotas",
    )


def exceeded(bound: Bound, used: Usage, prompt_tokens: int, today: date) -> ResourceExhausted:
    """That the next call would take more than is left."""
    quota = bound.quota
    whose = f"the {quota.scope} {bound.subject}".rstrip()
    limits = [
        *([f"{quota.tokens:.15g} tokens"] if quota.tokens is not None else []),
        *([f"{quota.cost_usd:.9g} USD"] if quota.cost_usd is not None else []),
    ]
    over = {Period.DAY: "a day", Period.MONTH: "a month", Period.TOTAL: "in all"}[quota.period]
    facts = {
        "quota_id": quota.quota_id,
        "used_tokens": f"{used.tokens:.15g}",
        "used_cost_usd": f"{used.cost_usd:.9g}",
        "prompt_tokens": str(prompt_tokens),
    }
    until = ""
    if quota.period is not Period.TOTAL:
        facts["ends"] = (days(quota.period, today)[1] + timedelta(days=1)).isoformat()
        until = f", or wait until {facts['ends']}"
    return ResourceExhausted(
        "QUOTA_EXCEEDED",
        f"{quota.quota_id} allows {whose} {' and '.join(limits)} {over}: {used.tokens:.15g} tokens "
        f"and {used.cost_usd:.9g} USD are used, and the next prompt has {prompt_tokens} "
        "tokens",
        suggested_fix=f"raise the quota{until}",
        **facts,
    )


def _faults(quota: Quota) -> Iterator[Violation]:
    if not NAME.fullmatch(quota.quota_id):
        yield Violation("quota_id", "is not a quota's id", NAME_FIX)
    if quota.scope is Scope.TENANT and quota.subject:
        yield Violation("subject", "is there for a whole tenant", "leave it out")
    if len(quota.subject) > 64:
        fix = "send the id of an agent or a session, or leave it out for each"
        yield Violation("subject", "is longer than 64 characters", fix)
    if quota.tokens is None and quota.cost_usd is None:
        yield Violation("tokens", "is missing, and so is cost_usd", "send one of them, or both")
    for field, value, most in (
        ("tokens", quota.tokens, MAX_TOKENS),
        ("cost_usd", quota.cost_usd, MAX_COST_USD),
    ):
        if value is not None and not (math.isfinite(value) and 0 <= value <= most):
            yield Violation(field, f"is {value:.15g}", f"send 0 to {most:,}, or leave it out")
        elif field == "tokens" and value is not None and value % 1:
            yield Violation(field, f"is {value:.15g}", "send a whole number")
