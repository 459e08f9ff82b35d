"""gRPC tools against a real server, for the tests beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from services.chassis.schema import Schema
from services.tool_registry.adapters.grpc.reflection import SECONDS
from services.tool_registry.adapters.grpc.tool import GrpcTools
from services.tool_registry.domain.targets import Grpc
from services.tool_registry.domain.tool import Definition, Entry
from services.tool_registry.ports import Tool
from tests.servers.grpc_service import SERVICE, Known, Loopback

RESULT_BYTES = 100_000
LEFT_OUT = Schema({}, field="input")


def entry(
    address: str,
    method: str = f"{SERVICE}/GetPlace",
    *,
    schema: Schema = LEFT_OUT,
    timeout: timedelta = timedelta(seconds=5),
    **target: object,
) -> Entry:
    """What somebody wants to register."""
    definition = Definition(
        name="places",
        version="1.0.0",
        description="Says where a place on earth is: latitude, longitude and height.",
        input_schema=schema,
        output_schema=LEFT_OUT,
        examples=(),
        timeout=timeout,
    )
    return Entry(definition, Grpc(address, method, **target))


@asynccontextmanager
async def making(
    resolver: Loopback | None = None,
    *,
    roots: bytes | None = None,
    seconds: float = SECONDS,
    **secrets: str,
) -> AsyncIterator[GrpcTools]:
    """The maker of tools."""
    known = Known(**secrets)
    async with GrpcTools(
        resolver or Loopback(),
        known,
        result_bytes=RESULT_BYTES,
        roots=roots,
        reflection_seconds=seconds,
    ) as tools:
        yield tools


async def registered(tools: GrpcTools, wanted: Entry) -> Tool:
    """The tool, as registering makes it."""
    return tools.made(await tools.checked(wanted, "default"), "default")
