"""What callers can do with definitions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.chassis.documents.problem import Problem
from services.chassis.errors import InvalidArgument, Violation, invalid
from services.chassis.eventlog.port import Condition
from services.workflow.domain import language
from services.workflow.domain.definition import Definition, Source
from services.workflow.ports import DefinitionStore
from services.workflow.usecases.workflows import Caller


@dataclass(frozen=True, slots=True)
class Created:
    """A definition, and what is odd about it."""

    definition: Definition
    warnings: Sequence[Problem]


class Definitions:
    """Checks, keeps and shows definitions."""

    def __init__(self, store: DefinitionStore, check_source: Callable[[Source], None]) -> None:
        """`check_source` refuses an event source that settings do not know."""
        self._store = store
        self._check_source = check_source

    async def create(
        self, caller: Caller, document: Mapping[str, object] | None, text: str, *, is_kept: bool
    ) -> Created:
        """Store the next version of what a document or a text says, unless it is only checked.

        Raises:
            InvalidArgument: `INVALID_REQUEST`, `DEFINITION_INVALID` with all that is wrong,
                `EVENT_BUS_UNKNOWN`.
            ResourceExhausted, Aborted: as `DefinitionStore.add`.
        """
        if (document is None) == (not text):
            fix = "send the document as definition, or its text as yaml"
            raise invalid(Violation("definition", "or yaml is needed, and not both", fix))
        field = "yaml" if text else "definition"
        outcome = language.outcome(text or document or {})
        if (definition := outcome.definition) is None:
            raise language.refusal(outcome.errors, field)
        if definition.source is not None:
            self._check_known(definition.source, field)
        if is_kept:
            definition = await self._store.add(caller.tenant, caller.subject, definition)
        return Created(definition, outcome.problems)

    def _check_known(self, source: Source, field: str) -> None:
        try:
            self._check_source(source)
        except InvalidArgument as error:
            if error.violations:
                raise
            known = error.metadata.get("known", "")
            fix = f"use an alias of: {known}; or set RUNPLANE_EVENT_BUSES"
            error.metadata |= {"field": f"{field}.event_source", "suggested_fix": fix}
            raise

    async def shown(self, caller: Caller, name: str, version: int) -> bytes:
        """One version as it goes over the wire; 0 for the newest."""
        if version < 0:
            fix = "send 1 or more, or leave it out for the newest"
            raise invalid(Violation("version", "is negative", fix))
        return await self._store.shown(caller.tenant, name, version)

    async def page(
        self, caller: Caller, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """The newest versions by name, as they go over the wire."""
        return await self._store.page(caller.tenant, where, after=after, limit=limit)
