"""How long transitions took. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.workflow.domain import events as ev

MILLISECOND: Final = timedelta(milliseconds=1)


def timed(events: Sequence[ev.Event], since: datetime) -> list[ev.Event]:
    """The events with what their transitions took since then: a request arrived, or what a worker
    did had ended. A transition that knows better, as those of timers do, keeps what it has."""
    return [_timed(event, since) for event in events]


def _timed(event: ev.Event, since: datetime) -> ev.Event:
    if not isinstance(event, ev.Started | ev.Moved) or event.transition_ms:
        return event
    return replace(event, transition_ms=max(event.time - since, timedelta(0)) / MILLISECOND)
