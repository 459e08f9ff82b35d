"""The spans of what outlives processes, while it runs in this one."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.chassis.tracing.spans import NOTHING, Facts, Nothing, Span, life


class Lives:
    """By tenant and id."""

    def __init__(self) -> None:
        self._here: dict[tuple[str, str], Span] = {}

    def of(self, tenant: str, whole: str) -> Span | Nothing:
        """The span of what runs here; nothing if it does not, or is not recorded."""
        return self._here.get((tenant, whole), NOTHING)

    @contextmanager
    def running(
        self, title: str, facts: Facts, *, always: Facts, of: tuple[str, str], number: int
    ) -> Iterator[None]:
        """One of the lives of a tenant's whole, as `life` has it, for as long as it runs here."""
        living = life(title, facts, always=always, whole=of[1], number=number)
        if not isinstance(living, Span):
            yield
            return
        self._here[of] = living
        try:
            with living:
                yield
        finally:
            if self._here.get(of) is living:  # Else it runs here again already.
                del self._here[of]
