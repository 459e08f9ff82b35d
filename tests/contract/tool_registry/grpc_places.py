"""A tool whose target is a method of a real gRPC server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from services.chassis.schema import Schema
from services.tool_registry.adapters.grpc.tool import GrpcTools
from services.tool_registry.domain.targets import Grpc
from services.tool_registry.domain.tool import Definition, Entry, Example
from services.tool_registry.ports import Tool
from tests.servers.grpc_service import KNOWN, SERVICE, Known, Loopback, serving

_MADE = Schema({}, field="input")
_PLACES = Definition(
    name="places",
    version="1.0.0",
    description="Says where a place on earth is: its latitude, longitude and height.",
    input_schema=_MADE,
    output_schema=_MADE,
    examples=tuple(
        Example(f"Where is {name}?", {"name": name}, place) for name, place in KNOWN.items()
    ),
    timeout=timedelta(seconds=5),
)


@asynccontextmanager
async def grpc_tool() -> AsyncIterator[Tool]:
    """A method found by reflection."""
    async with (
        serving() as address,
        GrpcTools(Loopback(), Known(), result_bytes=100_000) as tools,
    ):
        wanted = Entry(_PLACES, Grpc(address, f"{SERVICE}/GetPlace"))
        yield tools.made(await tools.checked(wanted, "default"), "default")
