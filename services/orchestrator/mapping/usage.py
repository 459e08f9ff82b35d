"""Protobuf to quotas and usage, and back. Pure."""

from collections.abc import Iterable
from datetime import UTC, date
from enum import StrEnum
from typing import Final, TypeVar

from runplane.orchestrator.v1 import usage_pb2 as pb

from services.chassis import structs
from services.chassis.errors import Violation, invalid
from services.orchestrator.domain.quota import Period, Quota, Scope, Usage

Word = TypeVar("Word", bound=StrEnum)
_LISTED: Final = (Scope.AGENT, Scope.SESSION)


def quota(message: pb.Quota) -> Quota:
    """A quota as it was sent or stored.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; a word of it is none.
    """
    return Quota(
        quota_id=message.quota_id,
        scope=_word("scope", message.scope, Scope),
        subject=message.subject,
        period=_word("period", message.period, Period),
        tokens=message.tokens if message.HasField("tokens") else None,
        cost_usd=message.cost_usd if message.HasField("cost_usd") else None,
        version=message.version,
        create_time=message.create_time.ToDatetime(UTC),
        update_time=message.update_time.ToDatetime(UTC),
    )


def limits(message: pb.Quota) -> tuple[float | None, float | None]:
    """The tokens and dollars that an update asks for."""
    return (
        message.tokens if message.HasField("tokens") else None,
        message.cost_usd if message.HasField("cost_usd") else None,
    )


def quota_message(of: Quota, used: Usage | None = None) -> pb.Quota:
    """The resource."""
    made = pb.Quota(
        quota_id=of.quota_id,
        scope=of.scope,
        subject=of.subject,
        period=of.period,
        tokens=of.tokens,
        cost_usd=of.cost_usd,
        version=of.version,
        is_declared=of.is_declared,
        used=None if used is None else figures(used),
    )
    if of.create_time is not None and of.update_time is not None:
        structs.set_time(made.create_time, of.create_time)
        structs.set_time(made.update_time, of.update_time)
    return made


def scope(name: str) -> Scope:
    """Whose usage; of the tenant where nothing is said."""
    return _word("scope", name, Scope) if name else Scope.TENANT


def listed_scope(name: str) -> Scope:
    """Whose usage is to be listed."""
    return _word("scope", name, Scope, _LISTED)


def day(field: str, text: str) -> date | None:
    """A day; None where nothing is said.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is none.
    """
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        fault = f"is {text[:32]!r}, which is no day"
        raise invalid(Violation(field, fault, "send a day such as 2026-11-26")) from None


def figures(of: Usage) -> pb.UsageFigures:
    """What was taken."""
    return pb.UsageFigures(
        tokens=of.tokens,
        prompt_tokens=of.prompt_tokens,
        completion_tokens=of.tokens - of.prompt_tokens,
        cost_usd=of.cost_usd,
        turns=of.turns,
    )


def row(subject: str, on: date, of: Usage) -> pb.UsageRow:
    """What somebody took in a day."""
    return pb.UsageRow(subject=subject, date=on.isoformat(), figures=figures(of))


def _word(field: str, text: str, words: type[Word], some: Iterable[Word] = ()) -> Word:
    allowed = [*(some or words)]
    for word in allowed:
        if word == text:
            return word
    fault = f"is {text[:32]!r}" if text else "is missing"
    raise invalid(Violation(field, fault, f"send {', '.join(allowed[:-1])} or {allowed[-1]}"))
