"""Workflows that are kept in memory: those that were used last, and few of those that are large."""

from typing import Final

from services.chassis.lately import Lately
from services.workflow.domain.data import is_large
from services.workflow.domain.instance import Instance
from services.workflow.ports import Loaded

SMALL: Final = 4096
LARGE: Final = 64
"""Each may have megabytes: its data, signals that it keeps, outputs that are to be undone."""

Name = tuple[str, str]


class Known:
    """By tenant and id."""

    def __init__(self) -> None:
        self._small: Lately[Name, Loaded] = Lately(SMALL, owner=lambda name: name[0])
        self._large: Lately[Name, Loaded] = Lately(LARGE, owner=lambda name: name[0])

    def get(self, name: Name) -> Loaded | None:
        """One that is still there."""
        return self._small.get(name) or self._large.get(name)

    def put(self, name: Name, loaded: Loaded) -> Loaded:
        """Keep it, in place of what was known of it."""
        self.drop(name)
        return (self._large if _is_large(loaded.instance) else self._small).put(name, loaded)

    def drop(self, name: Name) -> None:
        """Keep it no longer."""
        self._small.drop(name)
        self._large.drop(name)


def _is_large(instance: Instance) -> bool:
    kept = [each.payload for each in instance.deferred]
    outputs = [each.output for each in instance.done]
    return is_large([instance.data, kept, outputs])
