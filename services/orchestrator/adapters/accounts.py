"""What tasks took, in the names and figures of an event store's tallies. Pure."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from services.chassis.eventlog.tallies import Amounts, Tally, Want
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.quota import Bound, Scope, Usage, concerned, days

_LAST = "\U0010ffff"


def tallies(spec: ev.Spec, events: Sequence[ev.Event]) -> list[Tally]:
    """What these events say that models took, for all whose use it is."""
    if not (taken := [*_taken(events)]):
        return []
    return [
        Tally(name(scope, subject, day), figures)
        for scope, subject in concerned(spec)
        for day, figures in taken
    ]


def ends_a_call(events: Sequence[ev.Event]) -> bool:
    """Whether a call that something may be held for is over."""
    return any(_turn(event) is not None or type(event) in _ENDS for event in events)


def name(scope: Scope, subject: str, day: date | str) -> str:
    """The tally of a day."""
    return f"{scope.value}/{subject}/{day}"


def want(bound: Bound, takes: Usage, today: date) -> Want:
    """That so much more fits into a quota."""
    quota = bound.quota
    first, last = days(quota.period, today)
    return Want(
        bound.account,
        name(quota.scope, bound.subject, first),
        name(quota.scope, bound.subject, last),
        amounts(takes),
        (quota.tokens, quota.cost_usd, None, None),
    )


def usage(figures: Amounts) -> Usage:
    """Figures as what they are."""
    return Usage(*figures)


def amounts(of: Usage) -> Amounts:
    """The other way round."""
    return of.tokens, of.cost_usd, of.prompt_tokens, of.turns


def all_of(scope: Scope) -> tuple[str, str]:
    """The range of names of all subjects."""
    return f"{scope}/", f"{scope}/{_LAST}"


def next_name(of: str) -> str:
    """The least name behind another."""
    return f"{of}\x01"


def parted(tally: Tally) -> tuple[str, date]:
    """Whose tally it is, and of which day."""
    _, rest = tally.name.split("/", 1)
    subject, day = rest.rsplit("/", 1)
    return subject, date.fromisoformat(day)


def _taken(events: Sequence[ev.Event]) -> Iterator[tuple[date, Amounts]]:
    for event in events:
        turn = _turn(event)
        if turn is not None and (turn.tokens or turn.cost_usd):
            yield _day(event.time), (turn.tokens, turn.cost_usd, turn.prompt_tokens, 1)


def _turn(event: ev.Event) -> ev.Turn | None:
    return event.turn if isinstance(event, _HAS_TURN) else None


def _day(time: datetime) -> date:
    return time.date()


_ENDS = frozenset({ev.Completed, ev.Failed, ev.Canceled, ev.StepAbandoned, ev.Waited})
_HAS_TURN = (ev.ToolCalled, ev.Answered, ev.StepAbandoned, ev.Waited, ev.Failed, ev.Canceled)
