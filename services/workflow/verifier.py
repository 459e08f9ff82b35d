"""Verifies all workflows, over and over: one replica at a time, some at each look, behind all else.

A walk goes over what lists show, of all tenants, in the order of tenants and ids; each look goes on
where the one before stopped. A workflow is read whole where what is shown of it is not as it was
when it was found consistent, so neither a change of it nor one of its projection is passed over.
After a start, and each `full`, a walk reads all of them, whose events alone may have changed, and
looks then through all events for workflows that are not shown at all.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final

from services.chassis.errors import ServiceError
from services.workflow.domain.verification import Fault, Verified
from services.workflow.ports import Histories, Turn
from services.workflow.usecases.verification import Verifications

log = logging.getLogger(__name__)

PAGE: Final = 100
LOOKED: Final = 20
"""For each workflow that a look may read whole, it may pass over so many."""
KNOWN: Final = 1_000_000
"""Workflows that are known to be consistent; those beyond are read whole in each walk."""
REST: Final = 3.0
"""After each workflow that is read, others have the process for so many times as long."""

Name = tuple[str, str]
"""Tenant and workflow."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is verified, and how often."""

    interval: timedelta
    most: int
    """Workflows that are read whole at each look."""
    full: timedelta
    """How often all of them are."""


@dataclass(slots=True)
class Counts:
    """What was done and found since the process started, as metrics show it."""

    verified: int = 0
    walks: int = 0
    """How often all workflows were gone over."""
    failed: int = 0
    """Verifications that came to nothing, such as for want of the store."""
    found: Counter[Fault] = field(default_factory=Counter)
    repaired: Counter[Fault] = field(default_factory=Counter)
    broken: int = 0
    """Workflows whose events are not what was recorded, as far as is known now."""


class Verifier:
    """Goes over the workflows. `verifying` makes one."""

    def __init__(
        self,
        turn: Turn,
        histories: Histories,
        verifications: Verifications,
        pace: Pace,
        *,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.counts = Counts()
        self._turn = turn
        self._histories = histories
        self._verifications = verifications
        self._pace = pace
        self._now = now
        self._after: Name = ("", "")
        self._before: set[int] = set()
        """What was shown of those that the walk before found consistent."""
        self._current: set[int] = set()
        self._broken: set[Name] = set()
        self._full_at = now() + pace.full.total_seconds()
        self._is_full = True
        self._sought: int | None = None
        """Up to where in the store was looked for workflows that are not shown; None: no need."""

    async def run(self) -> None:
        """Look, and rest, until cancelled."""
        while True:
            await asyncio.sleep(self._pace.interval.total_seconds())
            try:
                await self.look()
            except ServiceError as error:
                log.warning("workflows not verified", extra={"error_code": error.reason})
            except Exception:
                log.exception("workflows not verified")

    async def look(self) -> None:
        """Verify some more, if it is this process's turn. Raises Unavailable."""
        left = self._pace.most
        for _ in range(max(1, left * LOOKED // PAGE)):
            if left <= 0 or not await self._turn.is_ours():
                return
            if self._sought is None:
                left = await self._go_over(left)
            else:
                await self._seek(self._sought)

    async def stop(self) -> None:
        """Let another process go on."""
        try:
            await self._turn.give_back()
        except ServiceError as error:
            log.warning("turn not given back", extra={"error_code": error.reason})

    async def _go_over(self, left: int) -> int:
        """A page of what is shown; how many more may be read whole, none at the end."""
        if self._after == ("", ""):
            self._broken.update(await self._histories.abandoned())
        page = await self._histories.every(after=self._after, limit=PAGE)
        for name, number in page:
            if left <= 0:
                return 0
            self._after = name
            if number in self._before and name not in self._broken:
                self._know(number)
            else:
                left -= 1
                await self._verify(name, number)
        if len(page) < PAGE:
            self._turn_around()
            return 0
        await asyncio.sleep(0)
        return left

    async def _seek(self, after: int) -> None:
        """A page of all events: what began and is not shown."""
        began = self._now()
        found, self._sought = await self._histories.unshown(after=after, limit=PAGE)
        await asyncio.sleep(REST * (self._now() - began))
        for name in found:
            await self._verify(name, 0)

    async def _verify(self, name: Name, number: int) -> None:
        began = self._now()
        try:
            found = await self._verifications.verify(*name)
            await self._tell(name, found)
        except ServiceError as error:
            self.counts.failed += 1
            extra = {"tenant": name[0], "workflow_id": name[1], "error_code": error.reason}
            log.warning("workflow not verified", extra=extra)
        except Exception:
            self.counts.failed += 1
            extra = {"tenant": name[0], "workflow_id": name[1]}
            log.exception("workflow not verified", extra=extra)
        else:
            self.counts.verified += 1
            if not found.findings:
                self._know(number)
        await asyncio.sleep(REST * (self._now() - began))

    async def _tell(self, name: Name, found: Verified) -> None:
        """Report what was found. One that was broken and is not any more goes on."""
        for each in found.findings:
            self.counts.found[each.fault] += 1
            self.counts.repaired[each.fault] += each.is_repaired
            extra = {
                "tenant": name[0],
                "workflow_id": name[1],
                "kind": each.fault.value,
                "sequence": each.sequence,
                "is_repaired": each.is_repaired,
            }
            log.error("workflow differs from its events", extra=extra)
        if found.is_broken and len(self._broken) < KNOWN:
            self._broken.add(name)
        elif name in self._broken:
            self._broken.discard(name)
            await self._verifications.resume(*name)
        self.counts.broken = len(self._broken)

    def _know(self, number: int) -> None:
        if len(self._current) < KNOWN:
            self._current.add(number)

    def _turn_around(self) -> None:
        """All were gone over; begin anew."""
        self.counts.walks += 1
        if self._is_full:
            self._sought = 0
        self._is_full = self._now() >= self._full_at
        self._after = ("", "")
        self._before, self._current = self._current, set()
        if self._is_full:
            self._full_at = self._now() + self._pace.full.total_seconds()
            self._before = set()


@asynccontextmanager
async def verifying(verifier: Verifier) -> AsyncIterator[None]:
    """Let it go over the workflows until the context is left."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(verifier.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])
            await verifier.stop()
