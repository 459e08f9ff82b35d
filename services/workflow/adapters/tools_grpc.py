"""Actions that are tools, by the tool registry."""

from collections.abc import Mapping
from typing import Final

import grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.client import unary
from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Action
from services.workflow.domain.instance import Instance
from services.workflow.domain.outcomes import Failed, Outcome, Succeeded, failed

READ_SECONDS: Final = 5.0


class GrpcTools:
    """Calls tools; one that may have been called, and is not idempotent, is not called again
    (product.md 9). A tool that answers with an error has said so for good, and whether it may have
    done it all the same; one that asks for something is a failure, for nobody can answer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.ToolRegistryServiceAsyncStub = pb_grpc.ToolRegistryServiceStub(channel)

    async def run(
        self, action: Action, given: Mapping[str, object], *, key: str, instance: Instance
    ) -> Outcome:
        """See `Actions`."""
        request = pb.CallToolRequest(
            name=action.target, version=action.version, idempotency_key=key
        )
        try:
            structs.from_dict(given, request.input, field="input")
            if instance.is_uncertain and not await self._is_idempotent(action):
                return Failed(_unrepeatable(action.target))
            timeout = action.timeout.total_seconds()
            response = await unary(self._stub.CallTool, request, timeout=timeout)
        except ServiceError as error:
            return failed(error)
        return _outcome(response)

    async def _is_idempotent(self, action: Action) -> bool:
        request = pb.GetToolRequest(name=action.target, version=action.version)
        return (await unary(self._stub.GetTool, request, timeout=READ_SECONDS)).is_idempotent

    async def stop(self, action: Action, *, key: str, instance: Instance) -> None:
        """See `Actions`. A call ends with whoever makes it, and the tool with the call."""


def _outcome(response: pb.CallToolResponse) -> Outcome:
    if response.status == "success":
        has_result = response.HasField("result")
        output = structs.to_value(response.result, field="result") if has_result else None
        return Succeeded(output)
    error = response.error
    failure = ev.Failure(
        "FAILED_PRECONDITION",
        error.reason or "TOOL_ASKS",
        error.message or f"{response.tool_name} asks for something, and nobody can answer it",
        error.suggested_fix,
    )
    return Failed(failure, is_uncertain=error.is_uncertain)


def _unrepeatable(name: str) -> ev.Failure:
    said = f"{name} may have done it already, and is not idempotent"
    fix = "look whether it has; where it honours idempotency keys, let it say is_idempotent"
    return ev.Failure("FAILED_PRECONDITION", "TOOL_NOT_IDEMPOTENT", said, fix)
