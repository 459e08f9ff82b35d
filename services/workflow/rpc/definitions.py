"""`runplane.workflow.v1.DefinitionService`."""

from functools import partial
from typing import TypeAlias

import grpc
from runplane.type.v1 import content_pb2
from runplane.workflow.v1 import definitions_pb2 as pb
from runplane.workflow.v1 import definitions_pb2_grpc as pb_grpc

from services.chassis import filtering, structs
from services.chassis.paging import Pager
from services.workflow.mapping import definitions as mapping
from services.workflow.rpc.caller import caller
from services.workflow.rpc.gate import Gate, gated
from services.workflow.usecases.definitions import Definitions

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class DefinitionServicer(pb_grpc.DefinitionServiceServicer):
    """`Definitions` over gRPC."""

    def __init__(self, definitions: Definitions, pager: Pager) -> None:
        self.gate = Gate()
        self._definitions = definitions
        self._pager = pager

    @gated
    async def CreateDefinition(
        self, request: pb.CreateDefinitionRequest, context: Context
    ) -> pb.Definition:
        """See the contract."""
        given = request.definition
        has_document = request.HasField("definition")
        document = structs.to_dict(given, field="definition") if has_document else None
        who = caller()
        created = await self._definitions.create(
            who, document, request.yaml, is_kept=not request.validate_only
        )
        if created.definition.version:
            name, version = created.definition.name, created.definition.version
            shown = await self._definitions.shown(who, name, version)
            message = pb.Definition.FromString(shown)
        else:
            message = mapping.packed(created.definition, who.subject)
        message.warnings.extend(
            content_pb2.Warning(code="DEFINITION_WARNING", message=f"{at.field}: {at.message}")
            for at in created.warnings
        )
        return message

    async def GetDefinition(
        self, request: pb.GetDefinitionRequest, context: Context
    ) -> pb.Definition:
        """See the contract."""
        shown = await self._definitions.shown(caller(), request.name, request.version)
        return pb.Definition.FromString(shown)

    async def ListDefinitions(
        self, request: pb.ListDefinitionsRequest, context: Context
    ) -> pb.ListDefinitionsResponse:
        """See the contract."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token, filter=request.filter)
        where = filtering.condition(request.filter, mapping.FILTERED)
        read = partial(self._definitions.page, caller(), where)
        shown, token = await self._pager.page(read, after, size, filter=request.filter)
        return pb.ListDefinitionsResponse(
            definitions=map(pb.Definition.FromString, shown), next_page_token=token
        )
