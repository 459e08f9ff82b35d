"""What a workflow's events add up to, as bytes, so that nobody reads all of a long log."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import TypeAdapter

from services.workflow.domain.instance import Instance

EVERY: Final = 32
"""Events, about."""
AFTER: Final = timedelta(minutes=1)
"""Since the event before, whatever the number."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot."""

    instance: Instance
    head: str
    """The hash of its last event."""


_KEPT: Final = TypeAdapter(Kept)


def written(instance: Instance, head: str) -> bytes:
    """A snapshot as it is stored."""
    return _KEPT.dump_json(Kept(instance, head))


def read(body: bytes) -> Kept:
    """A snapshot that was stored. Raises `ValueError` for what is none."""
    return _KEPT.validate_json(body)


def is_due(before: Instance, after: Instance) -> bool:
    """Whether it is time for one."""
    is_long = before.sequence // EVERY != after.sequence // EVERY
    return is_long or after.update_time - before.update_time > AFTER
