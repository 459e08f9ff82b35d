"""A tool that does as its input says, and remembers."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.chassis.errors import Unavailable
from services.chassis.schema import Schema
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from tests.unit.tool_registry.fakes import FakeTool


@dataclass
class Office:
    """`do`, whose input may have: `answer`, what it returns; `fail`, the reason that it refuses
    with; `away`, how often it cannot be reached first; `wait`, the name of a gate that it waits at.
    """

    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Keys and inputs."""
    tries: Counter[str] = field(default_factory=Counter)
    """By key."""
    gates: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    reached: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """Set when somebody waits at a gate."""
    left: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """Set when nobody waits there any more."""

    def tool(self) -> FakeTool:
        """The tool."""
        schema = Schema({"type": "object"}, field="input")
        return FakeTool(told=self._do, name="do", input_schema=schema, examples=())

    def of(self, workflow_id: str) -> list[tuple[str, Mapping[str, Any]]]:
        """What it was called with for one workflow: keys without its id, and inputs."""
        start = f"{workflow_id}/"
        return [(key[len(start) :], given) for key, given in self.calls if key.startswith(start)]

    async def _do(self, invocation: Invocation) -> object:
        given: Mapping[str, Any] = invocation.arguments
        key = invocation.idempotency_key
        self.calls.append((key, given))
        self.tries[key] += 1
        if self.tries[key] <= given.get("away", 0):
            raise Unavailable("OFFICE_CLOSED", "come back later")
        if gate := given.get("wait"):
            await self._wait(gate)
        if reason := given.get("fail"):
            raise ToolFailure(reason, "it will not do that", "ask for something else")
        return given.get("answer", {})

    async def _wait(self, gate: str) -> None:
        self.reached[gate].set()
        try:
            await self.gates[gate].wait()
        finally:
            self.left[gate].set()
