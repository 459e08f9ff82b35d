"""A gRPC service of somebody else's on loopback: what it does, a test says."""

import importlib.resources
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import _async, reflection_pb2
from grpc_tools import protoc

PLACES = Path(__file__).with_name("places.proto").read_text()
SERVICE = "places.v1.PlaceService"

Method = Callable[[Any, Any], Awaitable[Any]]
Handler = Callable[[bytes, Any], Awaitable[bytes]]
REFLECTION = "grpc.reflection.{}.ServerReflection"


@cache
def compiled(proto: str = PLACES) -> bytes:
    """The FileDescriptorSet of a `.proto`, with its imports and comments."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        (folder / "it.proto").write_text(proto)
        known = str(importlib.resources.files("grpc_tools") / "_proto")
        asked = ["--include_imports", "--include_source_info", f"--descriptor_set_out={path}/out"]
        assert protoc.main(["protoc", f"-I{path}", f"-I{known}", *asked, "it.proto"]) == 0
        return (folder / "out").read_bytes()


@cache
def pool(proto: str = PLACES) -> DescriptorPool:
    """The same, with nothing else in it."""
    made = DescriptorPool()
    for file in FileDescriptorSet.FromString(compiled(proto)).file:
        made.AddSerializedFile(file.SerializeToString())
    return made


def message(name: str) -> Any:
    """The class of a message of `places.proto`."""
    return GetMessageClass(pool().FindMessageTypeByName(name))


KNOWN: Mapping[str, Mapping[str, object]] = {
    "Lisbon": {"name": "Lisbon", "latitude": 38.7, "longitude": -9.1, "height": 0},
    "Quito": {"name": "Quito", "latitude": -0.2, "longitude": -78.5, "height": 2850},
}


async def get_place(request: Any, context: Any) -> Any:
    """Where a known place is."""
    if request.name not in KNOWN:
        await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no place {request.name}")
    return message("places.v1.Place")(**KNOWN[request.name])


async def echo(request: Any, context: Any) -> Any:
    """What was sent."""
    return request


def typed(name: str, method: Method) -> Handler:
    """A method of the service, on bytes."""
    takes = GetMessageClass(pool().FindServiceByName(SERVICE).methods_by_name[name].input_type)

    async def handle(raw: bytes, context: Any) -> bytes:
        return (await method(takes.FromString(raw), context)).SerializeToString()

    return handle


GOOD: Mapping[str, Handler] = {
    "GetPlace": typed("GetPlace", get_place),
    "Echo": typed("Echo", echo),
    "Shout": typed("Shout", echo),
    "Grow": typed("Grow", echo),
    "Act": typed("Act", echo),
}


@asynccontextmanager
async def serving(
    handlers: Mapping[str, Handler] = GOOD,
    *,
    reflection: Sequence[str] = ("v1", "v1alpha"),
    more: Mapping[str, Mapping[str, grpc.RpcMethodHandler]] | None = None,
    credentials: grpc.ServerCredentials | None = None,
    port: int = 0,
) -> AsyncIterator[str]:
    """Its address. `more` are handlers by service, instead of reflection of its own."""
    server = grpc.aio.server()
    unary = {name: grpc.unary_unary_rpc_method_handler(each) for name, each in handlers.items()}
    services: dict[str, Mapping[str, grpc.RpcMethodHandler]] = {SERVICE: unary}
    services |= {REFLECTION.format(version): _reflecting() for version in reflection}
    for name, methods in (services | dict(more or {})).items():
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, dict(methods)),)
        )
    where = f"127.0.0.1:{port}"
    if credentials is None:
        port = server.add_insecure_port(where)
    else:
        port = server.add_secure_port(where, credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def _reflecting() -> Mapping[str, grpc.RpcMethodHandler]:
    """Reflection as the library has it; of v1 it has only the messages, which are the same."""
    servicer = _async.ReflectionServicer([SERVICE], pool())
    return {
        "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
    }


class Loopback:
    """What may be connected to in tests: whatever the host is, this machine."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses or ("127.0.0.1",)
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """See `Resolver`."""
        self.asked.append((host, port))
        return self.addresses


class Known:
    """Secrets that a test sets, for every tenant."""

    def __init__(self, **values: str) -> None:
        self.values = values

    async def get(self, tenant: str, name: str) -> str:
        """See `Secrets`."""
        return self.values[name]
