"""What callers can do with workflows."""

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from services.chassis.errors import Aborted, ServiceError, Violation, invalid
from services.chassis.eventlog.port import Condition, Key
from services.chassis.starts import check_length, once, owned
from services.workflow.domain import decide
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.data import is_large
from services.workflow.domain.definition import Validator
from services.workflow.domain.instance import Standing
from services.workflow.domain.timing import timed
from services.workflow.ports import Appended, DefinitionStore, Loaded, WorkflowLog
from services.workflow.usecases.queues import Queues

ATTEMPTS: Final = 20
"""How often a change is decided anew because somebody else changed the workflow first."""
MAX_TEXT: Final = 4096
_UNNAMEABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MAX_NAME: Final = 256
MAX_LABELS: Final = 32
MAX_DEPTH: Final = 8

Decide = Callable[[Standing], Decided]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and under which trace."""

    tenant: str
    subject: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a request one that is done once: nothing, where the key is empty."""

    key: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """What to start."""

    definition: str
    version: int = 0
    data: ev.Object = field(default_factory=dict)
    correlation_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    parent_workflow_id: str = ""
    depth: int = 0


class Hands(Protocol):
    """Who goes on with a workflow that has something to do."""

    @property
    def has_room(self) -> bool:
        """Whether they can take one more."""

    def take(self, appended: Appended) -> None:
        """Go on with it, or tell those who have it."""


class Workflows:
    """Starts, moves and shows workflows."""

    def __init__(
        self,
        logs: WorkflowLog,
        definitions: DefinitionStore,
        hands: Hands,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._logs = logs
        self._definitions = definitions
        self._hands = hands
        self._now = now
        self._new_id = new_id
        self._queues = Queues()

    async def start(self, start: Start, caller: Caller, same: Once) -> Standing:
        """Start a workflow, or return the one that was started with this key.

        Raises:
            NotFound: `DEFINITION_NOT_FOUND`, `DEFINITION_VERSION_NOT_FOUND`.
            InvalidArgument: `INVALID_REQUEST`, `WORKFLOW_DATA_INVALID`.
            AlreadyExists: `IDEMPOTENCY_KEY_REUSED`.
        """
        _check_start(start)
        check_length(same.key)
        if not same.key:
            return await self._start(start, caller, None)
        key = owned("workflow", caller.subject, same.key, same.fingerprint)
        return await once(
            key,
            lambda: self._logs.kept(caller.tenant, key),
            lambda workflow_id: self.get(caller, workflow_id),
            lambda: self._start(start, caller, key),
        )

    async def started(self, caller: Caller, same: Once) -> str:
        """The id of the workflow that was started with this key; empty if none was."""
        key = owned("workflow", caller.subject, same.key, same.fingerprint)
        kept = await self._logs.kept(caller.tenant, key)
        return kept.stream_id if kept is not None else ""

    async def change(
        self, caller: Caller, workflow_id: str, decided: Decide, same: Once | None = None
    ) -> Standing:
        """Record what is decided of a workflow; nothing, where that was done with this key.

        Raises:
            NotFound: `WORKFLOW_NOT_FOUND`.
            AlreadyExists: `IDEMPOTENCY_KEY_REUSED`.
            Aborted: `SEQUENCE_CONFLICT`; it changes all the time.
            ServiceError: what is refused.
        """
        if same is None or not same.key:
            return await self._change(caller, workflow_id, decided, None)
        check_length(same.key)
        scope = f"{caller.subject}/{workflow_id}"
        key = owned("signal", scope, same.key, same.fingerprint)
        return await once(
            key,
            lambda: self._logs.kept(caller.tenant, key),
            lambda _: self.get(caller, workflow_id),
            lambda: self._change(caller, workflow_id, decided, key),
        )

    async def signal(
        self, caller: Caller, workflow_id: str, signal: ev.Signal, expected: str, same: Once
    ) -> Standing:
        """Tell a workflow something. Raises as `change` and `decide.signalled`."""
        if bool(signal.target) == bool(signal.event):
            fix = "send the state to go to as target, or what happened as event"
            raise invalid(Violation("target", "or event is needed, and not both", fix))
        check_name("event", signal.event)
        decided = partial(decide.signalled, signal=signal, expected_state=expected)
        return await self.change(caller, workflow_id, decided, same)

    async def approve(
        self, caller: Caller, workflow_id: str, signal: ev.Signal, expected: str, same: Once
    ) -> Standing:
        """Let it leave a state that a person guards. Raises as `change` and `decide.approved`."""
        _check_text("comment", signal.comment, MAX_TEXT)
        decided = partial(decide.approved, signal=signal, expected_state=expected)
        return await self.change(caller, workflow_id, decided, same)

    async def reject(
        self, caller: Caller, workflow_id: str, signal: ev.Signal, expected: str, same: Once
    ) -> Standing:
        """Decide against it. Raises as `change` and `decide.rejected`."""
        _check_text("comment", signal.comment, MAX_TEXT)
        decided = partial(decide.rejected, signal=signal, expected_state=expected)
        return await self.change(caller, workflow_id, decided, same)

    async def cancel(self, caller: Caller, workflow_id: str, reason: str) -> Standing:
        """End it. Raises as `change` and `decide.canceled`."""
        _check_text("reason", reason, MAX_TEXT)
        decided = partial(decide.canceled, by=caller.subject, reason=reason)
        return await self.change(caller, workflow_id, decided)

    async def compensate(self, caller: Caller, workflow_id: str, reason: str) -> Standing:
        """Undo what it did. Raises as `change` and `decide.compensation_asked`."""
        _check_text("reason", reason, MAX_TEXT)
        decided = partial(decide.compensation_asked, by=caller.subject, reason=reason)
        return await self.change(caller, workflow_id, decided)

    async def get(self, caller: Caller, workflow_id: str) -> Standing:
        """A workflow as it stands."""
        return self._at(await self._logs.load(caller.tenant, workflow_id, is_fresh=True))

    async def shown(self, caller: Caller, workflow_id: str) -> bytes:
        """A workflow as it goes over the wire."""
        return await self._logs.shown(caller.tenant, workflow_id)

    async def page(
        self, caller: Caller, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Workflows of the caller's tenant, as they go over the wire, the newest first."""
        return await self._logs.page(caller.tenant, where, after=after, limit=limit)

    async def events(
        self, caller: Caller, workflow_id: str, *, after: int, limit: int
    ) -> Sequence[bytes]:
        """Events as they go over the wire."""
        _check_after(after)
        return await self._logs.events(caller.tenant, workflow_id, after=after, limit=limit)

    def watch(self, caller: Caller, workflow_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """The same, and those to come."""
        _check_after(after)
        return self._logs.watch(caller.tenant, workflow_id, after=after)

    async def _start(self, start: Start, caller: Caller, key: Key | None) -> Standing:
        arrived = self._now()
        definition = await self._definitions.get(caller.tenant, start.definition, start.version)
        workflow_id = self._new_id()
        spec = ev.Spec(
            workflow_id=workflow_id,
            tenant=caller.tenant,
            owner=caller.subject,
            definition=definition.name,
            version=definition.version,
            correlation_id=start.correlation_id or workflow_id,
            trace_id=caller.trace_id,
            parent_workflow_id=start.parent_workflow_id,
            depth=start.depth,
            labels=start.labels,
        )
        instance, events = decide.started(definition, spec, start.data, self._now())
        decided = (instance, timed(events, arrived))
        takes = self._hands.has_room
        appended = await self._logs.begin(definition, decided, takes=takes, key=key)
        self._hands.take(appended)
        return self._at(appended.loaded)

    async def _change(
        self, caller: Caller, workflow_id: str, decided: Decide, key: Key | None
    ) -> Standing:
        arrived = self._now()
        async with self._queues.turn((caller.tenant, workflow_id)):
            return await self._changed(caller, workflow_id, decided, key, arrived)

    async def _changed(
        self, caller: Caller, workflow_id: str, decided: Decide, key: Key | None, arrived: datetime
    ) -> Standing:
        is_fresh = False
        for attempt in range(ATTEMPTS):
            loaded = await self._logs.load(caller.tenant, workflow_id, is_fresh=is_fresh)
            try:
                instance, events = await self._decided(decided, loaded)
                if not events and is_fresh:
                    return self._at(loaded)
                if events:
                    return await self._record(loaded, (instance, timed(events, arrived)), key)
            except Aborted:
                if attempt == ATTEMPTS - 1:
                    raise
            except ServiceError:
                if is_fresh:
                    raise
            is_fresh = True  # What it was decided from may have been of yesterday.
        raise KeyError(workflow_id)

    async def _decided(self, decided: Decide, loaded: Loaded) -> Decided:
        guard = loaded.definition.states[loaded.instance.state].guard
        is_heavy = guard is not None and guard.validator is Validator.CEL
        if not (is_heavy and is_large(loaded.instance.data)):
            return decided(self._at(loaded))
        async with self._queues.alone():
            return decided(self._at(loaded))

    async def _record(self, loaded: Loaded, decided: Decided, key: Key | None) -> Standing:
        takes = self._hands.has_room
        appended = await self._logs.append(loaded, decided, takes=takes, key=key)
        self._hands.take(appended)
        return self._at(appended.loaded)

    def _at(self, loaded: Loaded) -> Standing:
        return Standing(loaded.definition, loaded.instance, self._now())


def _check_start(start: Start) -> None:
    wrong = []
    if not start.definition:
        wrong.append(Violation("definition", "is missing", "send the name of a definition"))
    if start.version < 0:
        fix = "send 1 or more, or leave it out for the newest"
        wrong.append(Violation("version", "is negative", fix))
    if len(start.labels) > MAX_LABELS:
        wrong.append(Violation("labels", f"are more than {MAX_LABELS}", "send fewer"))
    if any(max(len(name), len(value)) > MAX_NAME for name, value in start.labels.items()):
        fix = f"use at most {MAX_NAME} characters for each name and value"
        wrong.append(Violation("labels", "are too long", fix))
    if any(_UNNAMEABLE.search(name + value) for name, value in start.labels.items()):
        wrong.append(Violation("labels", "have control characters", "send printable characters"))
    if wrong:
        raise invalid(*wrong)
    check_name("correlation_id", start.correlation_id)


def _check_after(sequence: int) -> None:
    if sequence < 0:
        fix = "send the sequence of the last event you have, or 0"
        raise invalid(Violation("after_sequence", "is negative", fix))


def check_name(where: str, name: str) -> None:
    """Refuse a name that could not be published. Raises InvalidArgument `INVALID_REQUEST`."""
    _check_text(where, name, MAX_NAME)
    if _UNNAMEABLE.search(name):
        raise invalid(Violation(where, "has control characters", "send printable characters"))


def _check_text(where: str, text: str, most: int) -> None:
    if len(text) > most:
        fix = f"send at most {most} characters"
        raise invalid(Violation(where, f"has {len(text)} characters", fix))
