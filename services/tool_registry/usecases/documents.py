"""Documents that bring many tools at once."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import Aborted, InvalidArgument, Violation, invalid
from services.tool_registry.domain.brought import Brought
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.openapi.tools import Planned, Wanted, planned
from services.tool_registry.usecases.registry import Registry

SKIPPED: Final = "skipped"
REMOVED: Final = "removed"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an operation."""

    operation: str
    """Empty: the document does not have it any more."""
    tool_name: str = ""
    """Empty: it was left out."""
    tool_version: str = ""
    outcome: str = SKIPPED
    reason: str = ""
    """Why it was left out; or what the tool does without."""


class Documents:
    """Registers what documents describe."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def openapi(
        self, caller: Caller, document: Mapping[str, object], wanted: Wanted
    ) -> Sequence[Imported]:
        """Register the operations of an OpenAPI document, and remove those it no longer has.

        Raises:
            InvalidArgument: `OPENAPI_INVALID` or `INVALID_REQUEST`.
            ResourceExhausted: `TOO_MANY_TOOLS`.
            Aborted: `TOOL_VERSION_CONFLICT`; another document was imported meanwhile.
        """
        # Large ones take a while, in which others are to be served.
        plans = await asyncio.to_thread(planned, document, wanted)
        entries = [plan.entry for plan in plans if plan.entry is not None]
        if not entries:  # It would remove what an earlier import brought.
            raise _fruitless(plans)
        brought = await self._registry.bring(caller, f"openapi:{wanted.namespace}", entries)
        if brought.others:
            raise _conflict(wanted.namespace, brought.others)
        return [*(_imported(plan, brought) for plan in plans), *_removed(brought)]


def _imported(plan: Planned, brought: Brought) -> Imported:
    if plan.entry is None:
        return Imported(plan.operation, reason=plan.reason)
    name = plan.entry.definition.name
    if name in brought.skipped:
        return Imported(plan.operation, reason=brought.skipped[name])
    version, outcome = brought.versions[name], brought.outcomes[name]
    return Imported(plan.operation, name, version, outcome, plan.reason)


def _removed(brought: Brought) -> Iterator[Imported]:
    """The tools that an earlier import brought, and this one does not."""
    for name, outcome in sorted(brought.outcomes.items()):
        if outcome == REMOVED:
            yield Imported("", name, "", REMOVED, "this import does not bring it")


def _conflict(namespace: str, others: Sequence[str]) -> Aborted:
    return Aborted(
        "TOOL_VERSION_CONFLICT",
        f"another import to {namespace} brought {others[0]} meanwhile",
        tool=others[0],
        field="namespace",
        suggested_fix="import the document again",
    )


def _fruitless(plans: Sequence[Planned]) -> InvalidArgument:
    fix = "send a document with an operation that takes and answers JSON"
    return invalid(
        Violation("document", f"has no operation that can be a tool: {plans[0].reason}", fix),
        reason="OPENAPI_INVALID",
    )
