"""Documents that bring tools, as protobuf, and back; pure."""

from collections.abc import Sequence

from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.tool_registry.domain.openapi.tools import Wanted
from services.tool_registry.mapping.targets import auth
from services.tool_registry.usecases.documents import Imported


def wanted(request: pb.ImportOpenApiRequest) -> Wanted:
    """What is to be made of the document."""
    return Wanted(
        namespace=request.namespace,
        base_url=request.base_url,
        auth=auth(request.auth) if request.HasField("auth") else None,
        operations=tuple(request.operations),
        tags=tuple(request.tags),
    )


def response(imported: Sequence[Imported]) -> pb.ImportOpenApiResponse:
    """What became of it."""
    return pb.ImportOpenApiResponse(
        operations=(
            pb.ImportedOperation(
                operation=each.operation,
                tool_name=each.tool_name,
                tool_version=each.tool_version,
                outcome=each.outcome,
                reason=each.reason,
            )
            for each in imported
        )
    )
