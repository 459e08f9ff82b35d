"""A tool whose work a test decides. It passes the contract suite of the port."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.chassis.schema import Schema
from services.tool_registry.domain.call import Call
from services.tool_registry.domain.circuit import Policy
from services.tool_registry.domain.targets import Client, Mcp
from services.tool_registry.domain.tool import Definition, Entry, Example
from services.tool_registry.ports import Answer, Invocation, Tool
from services.tool_registry.usecases.calls import Calls, Limits
from services.tool_registry.usecases.circuits import Circuits
from services.tool_registry.usecases.runs import Runs
from services.tool_registry.usecases.shelves import Builtins
from tests.conftest import FakeClock

ANY = Schema({}, field="output")
PLACE = Schema(
    {
        "type": "object",
        "properties": {"place": {"type": "string"}},
        "required": ["place"],
        "additionalProperties": False,
    },
    field="input",
)
LIMITS = Limits(
    calls=8, calls_per_tool=4, result_bytes=1000, retry_after=timedelta(milliseconds=100)
)
FAR = {"target": Mcp("server", "fake")}
"""What an entry keeps of a tool that is not built in."""
POLICY = Policy(failures=2, pause=timedelta(seconds=10))

ENTRY = {"target", "owner", "create_time", "source", "is_deprecated", "deprecation"}

Work = Callable[[Mapping[str, object]], Awaitable[object]]
Told = Callable[[Invocation], Awaitable[object]]


async def echo(arguments: Mapping[str, object]) -> object:
    """What an echo does."""
    return dict(arguments)


class FakeTool:
    """A tool called `fake`, or otherwise. Work answers a value or a whole answer; `told` is work
    that is given the whole invocation. `more` goes into the definition, `kept` into the entry."""

    def __init__(
        self,
        work: Work = echo,
        *,
        told: Told | None = None,
        name: str = "fake",
        timeout: timedelta = timedelta(seconds=5),
        output: Schema = ANY,
        unavailable: str = "",
        kept: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self._work = work
        self._told = told
        self.invocations: list[Invocation] = []
        text = {"type": "string", "maxLength": 10_000}
        document = {"type": "object", "properties": {"text": text}, "additionalProperties": False}
        self.unavailable = unavailable
        given: dict[str, Any] = {
            "name": name,
            "version": "1.0.0",
            "description": "Does what a test wants of it, and by default gives back what it gets.",
            "input_schema": Schema(document, field="input"),
            "output_schema": output,
            "examples": (
                Example("Say hello", {"text": "hello"}, {"text": "hello"}),
                Example("Say nothing", {}, {}),
            ),
            "timeout": timeout,
        }
        self.entry = Entry(Definition(**given | more), **kept or {})

    async def call(self, invocation: Invocation) -> Answer:
        """Do the work."""
        self.invocations.append(invocation)
        answer = await (self._told(invocation) if self._told else self._work(invocation.arguments))
        return answer if isinstance(answer, Answer) else Answer(answer)


class Waiting:
    """Work that goes on until it is released, and knows when it started and was stopped."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.released = asyncio.Event()
        self.stopped = asyncio.Event()

    async def __call__(self, arguments: Mapping[str, object]) -> object:
        """Wait."""
        self.started.set()
        try:
            await self.released.wait()
        finally:
            self.stopped.set()
        return dict(arguments)


def entry(**changes: object) -> Entry:
    """A registered tool called `weather`, of the client's kind, with some of it changed."""
    fields: dict[str, object] = {
        "name": "weather",
        "version": "1.0.0",
        "description": "Tells the weather of a place.",
        "input_schema": PLACE,
        "output_schema": ANY,
        "examples": (),
        "timeout": timedelta(seconds=5),
    }
    outer: dict[str, object] = {
        "target": Client(),
        "owner": "local",
        "create_time": datetime(2026, 1, 2, tzinfo=UTC),
    }
    for name in ENTRY & set(changes):
        outer[name] = changes.pop(name)
    return Entry(Definition(**(fields | changes)), **outer)  # type: ignore[arg-type]


class Stubborn(Waiting):
    """Work that goes on until it is released, whoever stops it."""

    async def __call__(self, arguments: Mapping[str, object]) -> object:
        """Wait."""
        self.started.set()
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:  # What a tool must not do.
                self.stopped.set()
        return dict(arguments)


def returning(value: object) -> Work:
    """Work that answers a value."""

    async def work(arguments: Mapping[str, object]) -> object:
        return value

    return work


def raising(error: Exception) -> Work:
    """Work that fails."""

    async def work(arguments: Mapping[str, object]) -> object:
        raise error

    return work


def calls_of(
    *tools: Tool,
    limits: Limits = LIMITS,
    policy: Policy = POLICY,
    clock: FakeClock | None = None,
    runs: Runs | None = None,
) -> Calls:
    """Calls of these tools, and of no others. Circuits go by the clock."""
    now = (clock or FakeClock()).monotonic
    circuits = Circuits(policy, now=now, chance=lambda: 0.0)
    return Calls(Builtins(tools), limits, circuits, runs or Runs(), lambda: "call_new")


def asked(name: str = "fake", /, **fields: Any) -> Call:
    """A call of a tool."""
    return Call(**{"tenant": "default", "name": name, "input": {}, **fields})
