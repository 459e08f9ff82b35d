"""What a run works with: its log, its inbox, its equipment and its time."""

import asyncio
from time import perf_counter

from services.chassis.eventlog.port import Claim
from services.orchestrator.calls import Caller
from services.orchestrator.delegation import Delegate
from services.orchestrator.domain import asking
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.references import readable
from services.orchestrator.domain.task import Task
from services.orchestrator.equipment import Equipment
from services.orchestrator.inbox import Inbox
from services.orchestrator.journal import Journal
from services.orchestrator.planning import Loose, Planner
from services.orchestrator.ports import Model
from services.orchestrator.reading import Reading, equipped
from services.orchestrator.settling import Settling
from services.orchestrator.world import World


class Kit:
    """One task's. It knows nobody who uses it, so that nothing of an ended task is held on to."""

    def __init__(
        self, world: World, task: Task, claim: Claim | None, equipment: Equipment | None
    ) -> None:
        """Without a claim nothing is written until the journal begins."""
        self.world = world
        self.journal = Journal(world.log, world.spawn, task, claim)
        self.inbox = Inbox()
        self.held = equipment
        """What it was equipped with; None before that is looked up."""
        self._loose: Loose = {}
        since = (world.now() - task.create_time).total_seconds()
        self.accepted_at = perf_counter() - since
        self.deadline = self.reckoned()
        """When it ends at the latest, in the loop's time, unless it waits for something first."""

    @property
    def task(self) -> Task:
        """The task as it stands."""
        return self.journal.task

    @property
    def equipment(self) -> Equipment:
        """What the task has now. Raises `LookupError` before it is known."""
        if self.held is None:
            raise LookupError(self.task.spec.task_id)
        return equipped(self.held, self.task.spec, readable(self.task))

    @property
    def model(self) -> Model:
        """Its model. Raises as `equipment`."""
        if self.held is None:
            raise LookupError(self.task.spec.task_id)
        return self.held.model

    @property
    def planner(self) -> Planner:
        """Plans the model's turns."""
        world = self.world
        return Planner(world.models, world.schemas, world.budget, self.equipment, self._loose)

    @property
    def settling(self) -> Settling:
        """Has calls made."""
        world, journal, tools = self.world, self.journal, self.equipment.tools
        asks = self.task.spec.call
        able = (
            asking.ELICITATION if asks is None or asks.capabilities is None else asks.capabilities
        )
        caller = Caller(Reading(world.tools, world.log, self.task), tools, self.left, able)
        delegate = Delegate(world.children, journal, world.now, tools)
        return Settling(journal, caller, delegate, world.schemas, tools, world.now, world.spawn)

    def reckoned(self) -> float:
        """The task's deadline in the loop's time, as its log has it now."""
        left = (self.task.deadline - self.world.now()).total_seconds()
        return asyncio.get_running_loop().time() + left

    def left(self) -> float:
        """Seconds until the task's deadline."""
        return max(0.001, self.deadline - asyncio.get_running_loop().time())

    async def warn(self, code: str, why: str) -> None:
        """Say once what was degraded, defaulted or cut."""
        if all(warning.code != code for warning in self.task.warnings):
            await self.journal.append(ev.Warned(self.world.now(), code, why))
