"""Who works on what, in this process's memory: claims and letters."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.chassis.eventlog import refusals
from services.chassis.eventlog.port import Claim, Letter, Work

Stream = tuple[str, str]


@dataclass(slots=True)
class _Job:
    stream: Stream
    kind: str
    owner: str
    epoch: int
    lease_until: datetime
    due: datetime
    letters: list[Letter] = field(default_factory=list)

    @property
    def claim(self) -> Claim:
        return Claim(*self.stream, self.owner, self.epoch)


class MemoryWork:
    """Streams that want a worker. `now` is an aware clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._jobs: dict[Stream, _Job] = {}
        self._numbers = itertools.count(1)

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._jobs

    def is_held(self, claim: Claim) -> bool:
        """Whether this claim is the latest of its stream."""
        job = self._jobs.get((claim.tenant, claim.stream_id))
        return job is not None and job.claim == claim

    def put(self, stream: Stream, work: Work) -> Claim | None:
        """A stream wants a worker, or has one; its claim then."""
        now = self._now()
        job = self._jobs.get(stream)
        if job is None:
            job = self._jobs[stream] = _Job(stream, work.kind, "", 0, now, now)
        if work.is_shared and job.lease_until > now:
            job.due = min(job.due, now)
            return job.claim
        job.owner = work.owner
        job.epoch += bool(work.owner)
        job.lease_until = now + work.lease if work.owner else now
        job.due = now if job.letters else now + work.delay
        return job.claim if work.owner else None

    def done(self, stream: Stream) -> None:
        """A stream wants no worker any more."""
        self._jobs.pop(stream, None)

    def answered(self, stream: Stream, numbers: Sequence[int]) -> None:
        """Letters that were dealt with."""
        if (job := self._jobs.get(stream)) is not None:
            job.letters = [each for each in job.letters if each.number not in numbers]

    def claim(self, kind: str, owner: str, *, limit: int, lease: timedelta) -> list[Claim]:
        """See `EventStore`."""
        free = sorted(self._free(kind), key=lambda job: job.due)[:limit]
        return [self._give(job, owner, lease) for job in free]

    def take(self, stream: Stream, owner: str, *, lease: timedelta) -> Claim | None:
        """See `EventStore`."""
        job = self._jobs.get(stream)
        if job is None or job.lease_until > self._now():
            return None
        return self._give(job, owner, lease)

    def renew(self, owner: str, *, lease: timedelta) -> list[Claim]:
        """See `EventStore`."""
        held = [job for job in self._jobs.values() if job.owner == owner]
        for job in held:
            job.lease_until = self._now() + lease
        return [job.claim for job in held]

    def release(self, claims: Sequence[Claim]) -> None:
        """See `EventStore`."""
        for claim in filter(self.is_held, claims):
            job = self._jobs[claim.tenant, claim.stream_id]
            job.owner, job.lease_until = "", self._now()

    def waiting(self, kind: str) -> int:
        """See `EventStore`."""
        return sum(1 for _ in self._free(kind))

    def due_in(self, kind: str) -> timedelta | None:
        """See `EventStore`."""
        now = self._now()
        of_kind = (job for job in self._jobs.values() if job.kind == kind)
        due = min((job.due for job in of_kind if job.lease_until <= now), default=None)
        return None if due is None else max(due - now, timedelta(0))

    def send(self, stream: Stream, kind: str, body: bytes, most: int) -> str | None:
        """See `EventStore`."""
        if (job := self._jobs.get(stream)) is None:
            return None
        if len(job.letters) >= most:
            raise refusals.inbox_full(stream[1], most)
        job.letters.append(Letter(*stream, next(self._numbers), kind, body))
        job.due = min(job.due, self._now())
        return job.owner if job.lease_until > self._now() else ""

    def letters(self, owner: str, stream_id: str, known: frozenset[int]) -> list[Letter]:
        """See `EventStore`."""
        jobs = (job for job in self._jobs.values() if job.owner == owner)
        letters = (each for job in jobs for each in job.letters if each.number not in known)
        found = [each for each in letters if stream_id in ("", each.stream_id)]
        return sorted(found, key=lambda letter: letter.number)

    def _give(self, job: _Job, owner: str, lease: timedelta) -> Claim:
        job.owner = owner
        job.epoch += 1
        job.lease_until = self._now() + lease
        return job.claim

    def _free(self, kind: str) -> Iterator[_Job]:
        now = self._now()
        for job in self._jobs.values():
            if job.kind == kind and job.due <= now and job.lease_until <= now:
                yield job
