"""What a service's event store is measured by: how long appends take, and what goes together."""

from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, Protocol, TypeVar

from services.chassis.exemplars import example
from services.chassis.histograms import SIZES, Histogram


class Measures:
    """Of one store; the label is the service whose store it is."""

    def __init__(self, store: str) -> None:
        self.appends = Histogram(
            "runplane_event_store_append_duration_seconds",
            "How long events were on their way to the event store, whatever came of it.",
            ["store"],
        )
        self.commits = Histogram(
            "runplane_event_store_commit_changes",
            "Changes that one commit took to the disk, where the store puts them together.",
            ["store"],
            SIZES,
        )
        self._append, self._commit = self.appends.of(store), self.commits.of(store)

    def all(self) -> tuple[Histogram, ...]:
        """All of them."""
        return (self.appends, self.commits)

    def appended(self, took: float) -> None:
        """Count an append that came to its end."""
        self._append.observe(took, example())

    def committed(self, changes: int) -> None:
        """Count a commit of so many changes."""
        self._commit.observe(changes)


class Measured(Protocol):
    """Something with such measures."""

    @property
    def measures(self) -> Measures:
        """What its appends take."""


Store = TypeVar("Store", bound=Measured)
Batch = TypeVar("Batch")
Result = TypeVar("Result")


def timed(
    append: Callable[[Store, Batch], Coroutine[Any, Any, Result]],
) -> Callable[[Store, Batch], Coroutine[Any, Any, Result]]:
    """An `append` that is counted."""

    async def counted(store: Store, batch: Batch) -> Result:
        start = perf_counter()
        try:
            return await append(store, batch)
        finally:
            store.measures.appended(perf_counter() - start)

    return counted
