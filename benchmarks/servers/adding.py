"""What they do, and the messages in which it is asked over gRPC."""

import sys
from typing import Any, Final

import grpc
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection

HOST: Final = "127.0.0.1"
SERVICE: Final = "bench.v1.AddingService"
METHOD: Final = f"{SERVICE}/Add"


def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


def _described() -> DescriptorPool:
    """`rpc Add(AddRequest) returns (AddResponse)`."""
    file = FileDescriptorProto(name="bench/v1/adding.proto", package="bench.v1", syntax="proto3")
    for name, fields in (("AddRequest", ("a", "b")), ("AddResponse", ("sum",))):
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, 1):
            its = message.field.add(name=field, number=number)
            its.type = FieldDescriptorProto.TYPE_DOUBLE
            its.label = FieldDescriptorProto.LABEL_OPTIONAL
    method = file.service.add(name="AddingService").method.add(name="Add")
    method.input_type, method.output_type = ".bench.v1.AddRequest", ".bench.v1.AddResponse"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL: Final = _described()
AddRequest: Final = GetMessageClass(POOL.FindMessageTypeByName("bench.v1.AddRequest"))
AddResponse: Final = GetMessageClass(POOL.FindMessageTypeByName("bench.v1.AddResponse"))


async def _added(request: Any, context: Any) -> Any:
    return AddResponse(sum=add(request.a, request.b))


async def serve_grpc(port: int) -> None:
    """With reflection, until it is ended."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        _added, AddRequest.FromString, AddResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Add": handler}),)
    )
    reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], server, pool=POOL)
    bound = server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    sys.stderr.write(f"{HOST}:{bound} serves until Ctrl-C\n")
    await server.wait_for_termination()
