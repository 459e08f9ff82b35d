"""A tool whose work a test decides. It passes the contract suite of the port."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

from services.chassis.schema import Schema
from services.tool_registry.domain.targets import Client
from services.tool_registry.domain.tool import Definition, Entry, Example
from services.tool_registry.ports import Answer, Invocation
from services.tool_registry.usecases.calls import Limits

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

ENTRY = {"target", "owner", "create_time", "source", "is_deprecated", "deprecation"}

Work = Callable[[Mapping[str, object]], Awaitable[object]]


async def echo(arguments: Mapping[str, object]) -> object:
    """What an echo does."""
    return dict(arguments)


class FakeTool:
    """A tool called `fake`, or otherwise."""

    def __init__(
        self,
        work: Work = echo,
        *,
        name: str = "fake",
        timeout: timedelta = timedelta(seconds=5),
        output: Schema = ANY,
    ) -> None:
        self._work = work
        text = {"type": "string", "maxLength": 10_000}
        document = {"type": "object", "properties": {"text": text}, "additionalProperties": False}
        self.unavailable = ""
        definition = Definition(
            name=name,
            version="1.0.0",
            description="Does what a test wants of it, and by default gives back what it gets.",
            input_schema=Schema(document, field="input"),
            output_schema=output,
            examples=(
                Example("Say hello", {"text": "hello"}, {"text": "hello"}),
                Example("Say nothing", {}, {}),
            ),
            timeout=timeout,
        )
        self.entry = Entry(definition)

    async def call(self, invocation: Invocation) -> Answer:
        """Do the work."""
        return Answer(await self._work(invocation.arguments))


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
