"""What sessions are to be: how they begin, alone or from another one, and how they change. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.chassis.errors import NotFound, Violation, invalid
from services.orchestrator.domain.request import labels_faults, on_busy_faults
from services.orchestrator.domain.session import (
    Created,
    Event,
    Exchange,
    Session,
    Summarized,
    Summary,
    TurnAdded,
    Updated,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a new session is to be."""

    on_busy: str
    labels: Mapping[str, str]
    key: str = ""
    """An idempotency key; empty for none."""
    fingerprint: str = ""
    """Tells the request from others with the same key."""


def check(wanted: Wanted) -> None:
    """Refuse what is no session. Raises `InvalidArgument` (`INVALID_REQUEST`)."""
    faults = [*on_busy_faults(wanted.on_busy), *labels_faults(wanted.labels)]
    if len(wanted.key) > 256:
        faults.append(Violation("idempotency_key", "is too long", "send at most 256 characters"))
    if faults:
        raise invalid(*faults[:10])


def updated(session: Session, wanted: Wanted, now: datetime) -> Updated | None:
    """The change that brings a session to what is wanted; None where it is so already.

    Raises:
        InvalidArgument: `INVALID_REQUEST`.
    """
    labels = {name: value for name, value in {**session.labels, **wanted.labels}.items() if value}
    policy = wanted.on_busy or session.on_busy
    check(replace(wanted, labels=labels))
    if (policy, labels) == (session.on_busy, session.labels):
        return None
    return Updated(now, policy, labels)


def copied(exchange: Exchange, time: datetime) -> TurnAdded:
    """A turn as a fork has it: it refers to the text, and has none."""
    task_id, has_answer = exchange.said.task_id, len(exchange.lines) == 2
    return TurnAdded(time, exchange.turn, task_id, has_answer=has_answer, is_forked=True)


def forked(
    created: Created, turns: Sequence[TurnAdded], summary: Summary | None, message: int
) -> list[Event]:
    """The events of a session that begins with turns of another one, up to a message.

    0 stands for the last message there is. A summary is good where all it covers is there.

    Raises:
        NotFound: `MESSAGE_NOT_FOUND`.
    """
    numbers = {2 * each.turn - 1 for each in turns}
    numbers |= {2 * each.turn for each in turns if each.has_answer}
    last = message or max(numbers, default=0)
    if message and message not in numbers:
        raise NotFound(
            "MESSAGE_NOT_FOUND",
            f"{created.forked_from} has no message {message}",
            field="message",
            session_id=created.forked_from,
            number=str(message),
            suggested_fix="use a number that its messages have, or 0 for all of them",
        )
    shown = [
        replace(each, has_answer=each.has_answer and 2 * each.turn <= last)
        for each in turns
        if 2 * each.turn - 1 <= last
    ]
    events: list[Event] = [created, *shown]
    if summary is not None and 2 * summary.through_turn <= last:
        through = 1 + sum(each.turn <= summary.through_turn for each in shown)
        events.append(
            Summarized(created.time, Summary(summary.text, summary.through_turn, through))
        )
    return events
