"""A store with its claims, and peers, in memory: what executions and workers need of the world."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from services.chassis.errors import Aborted, AlreadyExists, NotFound, ServiceError
from services.chassis.eventlog.port import Claim, Kept, Key
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.definition import Action, Definition
from services.workflow.domain.instance import Instance, Standing
from services.workflow.domain.outcomes import Outcome, Succeeded
from services.workflow.domain.steps import Look, Over, Rest, next_step
from services.workflow.ports import Appended, Loaded
from tests.unit.workflow.flow import NOW, replayed

LINGER: Final = timedelta(seconds=1)
LEASE: Final = timedelta(seconds=8)
FAR: Final = timedelta(days=36_500)
COMMIT: Final = 0.001
"""Seconds that a commit takes."""

Name = tuple[str, str]


def now() -> datetime:
    """The time, as the loop's timers count it."""
    return NOW + timedelta(seconds=asyncio.get_running_loop().time())


@dataclass
class Stream:
    """A workflow in the store."""

    loaded: Loaded
    events: list[ev.Event]
    claim: Claim | None = None
    lease: datetime = NOW
    due: datetime | None = None
    """None: it wants nobody."""
    epoch: int = 0

    @property
    def instance(self) -> Instance:
        """As it stands."""
        return self.loaded.instance

    def kinds(self) -> list[str]:
        """The names of its events."""
        return [type(event).__name__ for event in self.events]


class FakeStore:
    """All streams, and who has them."""

    def __init__(self) -> None:
        self.streams: dict[Name, Stream] = {}
        self.keys: dict[tuple[str, str, str], Kept] = {}
        self.wakes: dict[str, asyncio.Queue[Name]] = {}
        self.refused: list[ServiceError] = []
        """What the next starts with a key fail with, without a trace."""
        self.before: list[ServiceError] = []
        """What the next appends fail with, without a trace."""
        self.after: list[ServiceError] = []
        """What the next appends fail with, though they are stored."""
        self.slow: list[float] = []
        """Seconds that the next appends of workers take longer."""
        self.late: list[float] = []
        """Seconds that their answers take, once they are stored."""
        self.reading = COMMIT
        """Seconds that it takes to load a workflow."""
        self.appends = 0
        self.finds = 0
        self._changed = asyncio.Event()

    def __getitem__(self, workflow_id: str) -> Stream:
        return self.streams["default", workflow_id]

    async def until(self, workflow_id: str, is_so: Callable[[Stream], bool]) -> Stream:
        """The stream, once that is so of it."""
        async with asyncio.timeout(86_400):
            while ("default", workflow_id) not in self.streams or not is_so(self[workflow_id]):
                self._changed.clear()
                await self._changed.wait()
        return self[workflow_id]

    async def end(self, workflow_id: str) -> Stream:
        """The stream, once it has ended."""
        return await self.until(workflow_id, lambda stream: stream.instance.is_closed)

    def grant(self, name: Name, owner: str) -> Claim:
        """A new claim, whoever had one."""
        stream = self.streams[name]
        stream.epoch += 1
        stream.claim = Claim(*name, owner, stream.epoch)
        stream.lease = now() + LEASE
        return stream.claim

    def is_free(self, stream: Stream) -> bool:
        """Whether nobody has it, or has it no longer."""
        return stream.claim is None or stream.lease <= now()

    def say(self) -> None:
        """Something has changed."""
        self._changed.set()


class FakeLogs:
    """See `WorkflowLog`: that of one process."""

    def __init__(self, store: FakeStore, owner: str) -> None:
        self._store = store
        self._owner = owner

    async def begin(
        self, definition: Definition, decided: Decided, *, takes: bool, key: Key | None = None
    ) -> Appended:
        """See `WorkflowLog`."""
        await asyncio.sleep(COMMIT)
        if self._store.refused and key is not None:
            raise self._store.refused.pop(0)
        self._keep_key(decided, key)
        spec = decided[0].spec
        name = (spec.tenant, spec.workflow_id)
        loaded = Loaded(definition, decided[0], "")
        self._store.streams[name] = Stream(loaded, list(decided[1]))
        return self._appended(name, takes=takes, claim=None)

    async def load(self, tenant: str, workflow_id: str, *, is_fresh: bool = False) -> Loaded:
        """See `WorkflowLog`."""
        await asyncio.sleep(self._store.reading)
        if (stream := self._store.streams.get((tenant, workflow_id))) is None:
            raise NotFound("WORKFLOW_NOT_FOUND", workflow_id)
        return stream.loaded

    async def append(
        self,
        loaded: Loaded,
        decided: Decided,
        *,
        takes: bool = False,
        claim: Claim | None = None,
        key: Key | None = None,
    ) -> Appended:
        """See `WorkflowLog`."""
        await asyncio.sleep(COMMIT + self._next(self._store.slow, claim))
        if self._store.before:
            raise self._store.before.pop(0)
        spec = loaded.instance.spec
        name = (spec.tenant, spec.workflow_id)
        stream = self._store.streams[name]
        if claim is not None and stream.claim != claim:
            raise Aborted("CLAIM_LOST", "somebody else has it")
        if stream.instance.sequence != loaded.instance.sequence:
            raise Aborted("SEQUENCE_CONFLICT", "it has moved on")
        self._keep_key(decided, key)
        stream.loaded = Loaded(loaded.definition, decided[0], "")
        stream.events += decided[1]
        assert replayed(loaded.definition, stream.events) == decided[0]
        self._store.appends += 1
        appended = self._appended(name, takes=takes, claim=claim)
        if self._store.after:
            raise self._store.after.pop(0)
        await asyncio.sleep(self._next(self._store.late, claim))
        return appended

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `WorkflowLog`."""
        return self._store.keys.get((tenant, key.scope, key.key))

    @staticmethod
    def _next(seconds: list[float], claim: Claim | None) -> float:
        return seconds.pop(0) if seconds and claim is not None else 0.0

    def _keep_key(self, decided: Decided, key: Key | None) -> None:
        if key is None:
            return
        spec = decided[0].spec
        name = (spec.tenant, key.scope, key.key)
        if name in self._store.keys:
            raise AlreadyExists("IDEMPOTENCY_KEY_TAKEN", "it is")
        self._store.keys[name] = Kept(spec.workflow_id, key.fingerprint)

    def _appended(self, name: Name, *, takes: bool, claim: Claim | None) -> Appended:
        """What follows of work from `next_step`, as the port promises it."""
        stream, store = self._store.streams[name], self._store
        store.say()
        step = next_step(Standing(stream.loaded.definition, stream.instance, now()))
        delay = timedelta(0)
        if isinstance(step, Rest | Look):
            delay = max(step.until - now(), timedelta(0)) if step.until else FAR
        is_kept = delay <= LINGER and not isinstance(step, Over | Look)
        if claim is not None and is_kept:
            return Appended(stream.loaded, claim)
        if claim is None and not store.is_free(stream) and not isinstance(step, Over):
            stream.due = now()  # It is due when whoever has it is through.
            return Appended(stream.loaded, stream.claim)
        stream.claim = None
        stream.due = None if isinstance(step, Over) else now() + delay
        if claim is None and takes and not isinstance(step, Over | Rest | Look):
            return Appended(stream.loaded, store.grant(name, self._owner))
        return Appended(stream.loaded, None)


class FakeDesk:
    """See `Desk`."""

    def __init__(self, store: FakeStore, owner: str) -> None:
        self.owner = owner
        self._store = store
        self._wakes = store.wakes.setdefault(owner, asyncio.Queue())
        self.is_deaf = False

    async def find(self, limit: int) -> Sequence[Claim]:
        """See `Desk`."""
        self._store.finds += 1
        await asyncio.sleep(COMMIT)
        due = [name for name, each in self._store.streams.items() if self._is_due(each)]
        return [self._store.grant(name, self.owner) for name in due[:limit]]

    async def renew(self) -> Sequence[Claim]:
        """See `Desk`."""
        await asyncio.sleep(COMMIT)
        mine = [each for each in self._store.streams.values() if each.claim is not None]
        mine = [each for each in mine if each.claim and each.claim.owner == self.owner]
        for each in mine:
            each.lease = now() + LEASE
        return [each.claim for each in mine if each.claim is not None]

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `Desk`."""
        await asyncio.sleep(COMMIT)
        for claim in claims:
            stream = self._store.streams[claim.tenant, claim.stream_id]
            if stream.claim == claim:
                stream.claim, stream.due = None, now()
        self._store.say()

    async def wake(self, claim: Claim) -> None:
        """See `Desk`."""
        await self._store.wakes[claim.owner].put((claim.tenant, claim.stream_id))

    async def woken(self) -> Sequence[Name]:
        """See `Desk`."""
        if self.is_deaf:
            await asyncio.Event().wait()
        return [await self._wakes.get()]

    async def due_in(self) -> timedelta | None:
        """See `Desk`."""
        free = [each for each in self._store.streams.values() if each.claim is None]
        due = [each.due for each in free if each.due is not None]
        return max(min(due) - now(), timedelta(0)) if due else None

    async def waiting(self) -> int:
        """See `Desk`."""
        return sum(map(self._is_due, self._store.streams.values()))

    def _is_due(self, stream: Stream) -> bool:
        is_free = self._store.is_free(stream)
        return is_free and stream.due is not None and stream.due <= now()


Script = Outcome | asyncio.Event | ServiceError
"""What comes of a call: an event is waited for, and the call succeeds then."""


@dataclass
class FakePeers:
    """See `Actions`: tools and agents by their names; those not named succeed at once."""

    scripts: dict[str, list[Script]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Names and keys."""
    given: list[Mapping[str, object]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    """Names of those that were cancelled."""
    ended: list[tuple[str, str]] = field(default_factory=list)
    """Names and keys of those that nobody wants any more."""
    lingers: float = 0.0
    """Seconds that it takes them to stop."""
    at_work: int = 0
    most_at_work: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, number: int) -> None:
        """Wait until so many calls are under way."""
        async with asyncio.timeout(86_400):
            while self.at_work != number:
                self._changed.clear()
                await self._changed.wait()

    async def run(
        self, action: Action, given: Mapping[str, object], *, key: str, instance: Instance
    ) -> Outcome:
        """See `Actions`."""
        self.calls.append((action.target, key))
        self.given.append(given)
        self.at_work += 1
        self._changed.set()
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            return await self._answer(action.target)
        except asyncio.CancelledError:
            self.stopped.append(action.target)
            await asyncio.sleep(self.lingers)
            raise
        finally:
            self.at_work -= 1
            self._changed.set()

    async def stop(self, action: Action, *, key: str, instance: Instance) -> None:
        """See `Actions`."""
        self.ended.append((action.target, key))

    def names(self) -> list[str]:
        """Who was called, in order."""
        return [name for name, _ in self.calls]

    async def _answer(self, name: str) -> Outcome:
        script = self.scripts.get(name, [])
        what = script.pop(0) if len(script) > 1 else next(iter(script), Succeeded({}))
        if isinstance(what, asyncio.Event):
            await what.wait()
            return Succeeded({})
        if isinstance(what, ServiceError):
            raise what
        return what


class FakeDefinitions:
    """See `DefinitionStore`, as far as workflows are started."""

    def __init__(self, definitions: Sequence[Definition]) -> None:
        self._known = {each.name: each for each in definitions}

    async def get(self, tenant: str, name: str, version: int = 0) -> Definition:
        """See `DefinitionStore`."""
        if name not in self._known:
            raise NotFound("DEFINITION_NOT_FOUND", name)
        return self._known[name]
