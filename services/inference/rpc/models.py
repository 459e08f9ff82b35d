"""`runplane.inference.v1.ModelService`."""

from typing import Final, TypeAlias

import grpc
from google.longrunning.operations_pb2 import Operation
from google.protobuf.empty_pb2 import Empty
from runplane.inference.v1 import inference_pb2
from runplane.inference.v1 import models_pb2 as pb
from runplane.inference.v1 import models_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.context import current
from services.chassis.fingerprint import fingerprint
from services.chassis.operations.kept import Order
from services.chassis.operations.runner import Handler, Operations
from services.chassis.paging import Pager
from services.inference.mapping import models as mapping
from services.inference.usecases.models import Models

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"

LOAD: Final = "model.load"
UNLOAD: Final = "model.unload"


class ModelServicer(pb_grpc.ModelServiceServicer):
    """`Models` over gRPC."""

    def __init__(self, models: Models, operations: Operations, pager: Pager) -> None:
        self._models = models
        self._operations = operations
        self._pager = pager

    async def CreateModel(
        self, request: pb.CreateModelRequest, context: Context
    ) -> inference_pb2.Model:
        """See the contract."""
        who = current.get().principal
        key = request.idempotency_key or current.get().idempotency_key
        listed = await self._models.create(
            who.tenant,
            who.subject,
            mapping.document(request.model),
            key=key,
            fingerprint=fingerprint(request.model) if key else "",
        )
        return mapping.message(listed)

    async def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: Context
    ) -> inference_pb2.ListModelsResponse:
        """See the contract."""
        size = self._pager.size(request.page_size)
        rest = self._models.page(_tenant(), after=self._pager.after(request.page_token))
        token = self._pager.token(rest[size - 1].entry.name) if len(rest) > size else ""
        return inference_pb2.ListModelsResponse(
            models=map(mapping.message, rest[:size]), next_page_token=token
        )

    async def GetModel(
        self, request: inference_pb2.GetModelRequest, context: Context
    ) -> inference_pb2.Model:
        """See the contract."""
        return mapping.message(await self._models.get(_tenant(), request.name))

    async def UpdateModel(
        self, request: pb.UpdateModelRequest, context: Context
    ) -> inference_pb2.Model:
        """See the contract."""
        listed = await self._models.update(
            _tenant(),
            request.name,
            mapping.document(request.model),
            mapping.mask(request),
            request.model.revision,
        )
        return mapping.message(listed)

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> Empty:
        """See the contract."""
        await self._models.delete(_tenant(), request.name)
        return Empty()

    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> Operation:
        """See the contract."""
        name = await self._models.check_operable(_tenant(), request.name)
        return await self._start(LOAD, name)

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> Operation:
        """See the contract."""
        name = await self._models.check_operable(_tenant(), request.name, is_unload=True)
        return await self._start(UNLOAD, name)

    async def _start(self, kind: str, name: str) -> Operation:
        metadata = pb.ModelOperation(model=name, verb=kind.rpartition(".")[2])
        structs.set_time(metadata.create_time, self._operations.setup.now())
        return await self._operations.start(kind, name, metadata)


def handlers(models: Models) -> dict[str, Handler]:
    """What does the orders of this service."""

    async def load(order: Order) -> inference_pb2.Model:
        return mapping.message(await models.load(order.tenant, order.target))

    async def unload(order: Order) -> inference_pb2.Model:
        return mapping.message(await models.unload(order.tenant, order.target))

    async def stop_loading(order: Order) -> None:
        await models.stop_loading(order.tenant, order.target)

    return {LOAD: Handler(load, stop_loading), UNLOAD: Handler(unload)}


def _tenant() -> str:
    return current.get().principal.tenant
