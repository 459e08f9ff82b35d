"""Events from outside: kept and told to the event bus, and what comes in from there is signalled to
the workflows that it is for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
    Violation,
    invalid,
)
from services.chassis.eventlog.port import Compare, Every, Kept, Key, Some
from services.chassis.starts import check_length, once, owned
from services.workflow.domain import events as ev
from services.workflow.domain.data import FIXES, fault
from services.workflow.domain.decide import TOO_MANY_SIGNALS
from services.workflow.domain.refusals import is_corrupt
from services.workflow.ports import WorkflowLog
from services.workflow.usecases.workflows import Caller, Once, Workflows, check_name

MAX_NAME: Final = 256
PAGE: Final = 100
MOST: Final = 1000
"""Workflows that one event can be for."""
AT_ONCE: Final = 32
OUTSIDE: Final = "event"
"""Who signals what came in."""
_OPEN: Final = Some((Compare("status", "=", "running"), Compare("status", "=", "waiting")))


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened outside."""

    id: str
    type: str
    payload: ev.Object = field(default_factory=dict)
    correlation_id: str = ""
    workflow_id: str = ""
    """The one workflow that it is for; empty: all those with its `correlation_id`."""


class HappeningLog(Protocol):
    """Where events are kept until the event bus has been told."""

    async def add(self, caller: Caller, happening: Happening, key: Key | None) -> None:
        """Keep one.

        Raises:
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`.
            ResourceExhausted: `OUTBOX_FULL`, `INBOUND_FULL`.
        """

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """What an idempotency key stands for: the id of an event."""


class Happenings:
    """Publishes events, and hands on those that arrive."""

    def __init__(
        self,
        kept: HappeningLog,
        workflows: Workflows,
        logs: WorkflowLog,
        new_id: Callable[[], str],
    ) -> None:
        self._kept = kept
        self._workflows = workflows
        self._logs = logs
        self._new_id = new_id

    async def publish(self, caller: Caller, happening: Happening, same: Once) -> str:
        """Keep an event for the event bus; its id.

        Raises:
            InvalidArgument: `INVALID_REQUEST`.
            ResourceExhausted: `OUTBOX_FULL`, `INBOUND_FULL`.
            AlreadyExists: `IDEMPOTENCY_KEY_REUSED`.
        """
        _check(happening)
        check_length(same.key)
        key = owned("published", caller.subject, same.key, same.fingerprint) if same.key else None
        happening = replace(happening, id=self._new_id())

        async def begin() -> str:
            await self._kept.add(caller, happening, key)
            return happening.id

        async def find(event_id: str) -> str:
            return event_id

        if key is None:
            return await begin()
        return await once(key, lambda: self._kept.kept(caller.tenant, key), find, begin)

    async def arrived(self, tenant: str, happening: Happening, trace_id: str) -> None:
        """Signal an event to the workflows that it is for, to each once.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; nobody can be told it.
            NotFound: `EVENT_FOR_NOBODY`, `WORKFLOW_NOT_FOUND`.
            FailedPrecondition: `EVENT_FOR_TOO_MANY`; nobody was told.
            FailedPrecondition, InvalidArgument: it leads nowhere in any of them, or fits none.
            Internal: `WORKFLOW_CORRUPT`; it is for that one alone.
            ServiceError: somebody could not be told; tell it again.
        """
        _check(happening)
        caller = Caller(tenant, OUTSIDE, trace_id)
        refused: list[ServiceError] = []
        told = 0
        meant = await self._meant(tenant, happening)
        for start in range(0, len(meant), AT_ONCE):
            some = meant[start : start + AT_ONCE]
            tell = (self._told(caller, workflow_id, happening) for workflow_id in some)
            for answer in await asyncio.gather(*tell, return_exceptions=True):
                if isinstance(answer, BaseException):
                    raise answer
                refused += answer
                told += not answer
        if told == 0:
            raise refused[0] if refused else _for_nobody(happening)

    async def _told(
        self, caller: Caller, workflow_id: str, happening: Happening
    ) -> list[ServiceError]:
        """Why a workflow refused it for good, if it did."""
        try:
            await self._signal(caller, workflow_id, happening)
        except (FailedPrecondition, InvalidArgument) as error:
            return [error]
        except ServiceError as error:
            if is_corrupt(error, workflow_id):
                return [error]
            if error.reason == TOO_MANY_SIGNALS:  # Others do not wait until it is at rest.
                return [FailedPrecondition(error.reason, error.message)]
            raise
        return []

    async def _signal(self, caller: Caller, workflow_id: str, happening: Happening) -> None:
        signal = ev.Signal(event=happening.type, payload=happening.payload, by=OUTSIDE)
        same = Once(happening.id, happening.type)
        await self._workflows.signal(caller, workflow_id, signal, "", same)

    async def _meant(self, tenant: str, happening: Happening) -> list[str]:
        if happening.workflow_id:
            return [happening.workflow_id]
        where = Every((Compare("correlation_id", "=", happening.correlation_id), _OPEN))
        found: list[str] = []
        while len(found) <= MOST:
            after = found[-1] if found else ""
            page = await self._logs.page(tenant, where, after=after, limit=PAGE)
            found += [workflow_id for workflow_id, _ in page]
            if not page:
                return found
        raise _for_too_many(happening)


def _check(happening: Happening) -> None:
    wrong = []
    if not 0 < len(happening.type) <= MAX_NAME:
        fix = f"send 1 to {MAX_NAME} characters"
        wrong.append(Violation("event_type", "is missing or too long", fix))
    if bool(happening.correlation_id) == bool(happening.workflow_id):
        fix = "send the correlation_id of workflows, or the workflow_id of one"
        wrong.append(Violation("correlation_id", "or workflow_id is needed, and not both", fix))
    if max(len(happening.correlation_id), len(happening.workflow_id)) > MAX_NAME:
        fix = f"send at most {MAX_NAME} characters"
        wrong.append(Violation("correlation_id", "is too long", fix))
    if (problem := fault(happening.payload)) is not None:
        wrong.append(Violation("payload", problem, FIXES[problem]))
    if wrong:
        raise invalid(*wrong)
    check_name("event_type", happening.type)
    check_name("correlation_id", happening.correlation_id or happening.workflow_id)


def _for_nobody(happening: Happening) -> NotFound:
    shown = happening.correlation_id[:64]
    return NotFound(
        "EVENT_FOR_NOBODY",
        f"no workflow that is running or waiting has the correlation id {shown}",
        field="correlation_id",
        correlation_id=shown,
        suggested_fix="start a workflow with this correlation_id first",
    )


def _for_too_many(happening: Happening) -> FailedPrecondition:
    shown = happening.correlation_id[:64]
    return FailedPrecondition(
        "EVENT_FOR_TOO_MANY",
        f"more than {MOST} workflows that are running or waiting have the correlation id {shown}",
        field="correlation_id",
        correlation_id=shown,
        most=str(MOST),
        suggested_fix="signal them one by one, or give fewer of them the same correlation id",
    )
