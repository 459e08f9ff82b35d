"""What the events of a workflow add up to."""

from contextlib import aclosing
from dataclasses import dataclass

from services.chassis.eventlog.port import EventStore, StoredEvent
from services.workflow.adapters import codec, snapshots
from services.workflow.adapters.codec import Unreadable
from services.workflow.adapters.histories import PREFIX, stored
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Definition
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import Instance
from services.workflow.domain.refusals import corrupt, missing
from services.workflow.ports import DefinitionStore, Loaded


@dataclass(slots=True)
class _Replay:
    """What events add up to, so far."""

    definition: Definition
    instance: Instance | None = None
    head: str = ""

    def follow(self, event: StoredEvent) -> None:
        """One more. Raises as `replayed`."""
        try:
            instance = evolve(self.definition, self.instance, codec.decoded(event))
        except (Unreadable, KeyError, ValueError):
            raise corrupt(event.stream_id, event.sequence) from None
        if instance.sequence != event.sequence:
            raise corrupt(event.stream_id, instance.sequence)  # It is missing.
        self.instance, self.head = instance, codec.hash_of(event.body)


async def replayed(
    store: EventStore, definitions: DefinitionStore, tenant: str, workflow_id: str
) -> Loaded:
    """A workflow as its newest snapshot and the events since have it.

    Raises:
        NotFound: `WORKFLOW_NOT_FOUND`.
        Unavailable: `WRITTEN_BY_NEWER_VERSION`.
        Internal: `WORKFLOW_CORRUPT`.
    """
    if not workflow_id.startswith(PREFIX):
        raise missing(workflow_id)
    replay, after = await _summed(store, definitions, tenant, workflow_id)
    async with aclosing(stored(store, tenant, workflow_id, after=after)) as pages:
        async for page in pages:
            if replay is None:
                replay = _Replay(await _definition(definitions, page[0]))
            for event in page:
                replay.follow(event)
    if replay is None or replay.instance is None:
        raise missing(workflow_id)
    return Loaded(replay.definition, replay.instance, replay.head)


async def _summed(
    store: EventStore, definitions: DefinitionStore, tenant: str, workflow_id: str
) -> tuple[_Replay | None, int]:
    """What the snapshot holds. One that makes no sense is passed over: the events have it all."""
    if (kept := await store.snapshot(tenant, workflow_id)) is None:
        return None, 0
    try:
        found = snapshots.read(kept.body)
    except ValueError:
        return None, 0
    if found.instance.sequence != kept.sequence:
        return None, 0
    spec = found.instance.spec
    if (spec.tenant, spec.workflow_id) != (tenant, workflow_id):
        return None, 0
    definition = await definitions.get(tenant, spec.definition, spec.version)
    if found.instance.state not in definition.states:
        return None, 0
    return _Replay(definition, found.instance, found.head), kept.sequence


async def _definition(definitions: DefinitionStore, first: StoredEvent) -> Definition:
    try:
        event = codec.decoded(first)
    except Unreadable:
        raise corrupt(first.stream_id, first.sequence) from None
    if not isinstance(event, ev.Started):
        raise corrupt(first.stream_id, first.sequence)
    spec = event.spec
    return await definitions.get(first.tenant, spec.definition, spec.version)
