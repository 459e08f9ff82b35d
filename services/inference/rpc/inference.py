"""The gRPC surface: unpack, call, pack."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import TypeAlias

import grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis.context import current
from services.inference.domain.generation import Complete
from services.inference.domain.reading import Reading
from services.inference.domain.request import Priority
from services.inference.mapping import inference as mapping
from services.inference.mapping import readings as mapping_readings
from services.inference.rpc import spans
from services.inference.rpc.models import ModelServicer
from services.inference.usecases.inference import Inference
from services.inference.usecases.readings import Readings

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class InferenceServicer(pb_grpc.InferenceServiceServicer):
    """`runplane.inference.v1.InferenceService`."""

    def __init__(
        self,
        inference: Inference,
        readings: Readings,
        models: ModelServicer,
        new_id: Callable[[], str],
    ) -> None:
        self._inference = inference
        self._readings = readings
        self._models = models
        self._new_id = new_id
        self._schemas = mapping.Schemas()

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> pb.GenerateResponse:
        """See the contract."""
        asked = mapping.request(request, self._schemas)
        text, end = await self._inference.generate(_tenant(), asked)
        spans.generated(end)
        return mapping.response(self._new_id(), text, end, current.get().trace_id)

    async def StreamGenerate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        """See the contract."""
        asked = mapping.request(request, self._schemas)
        generation_id, sequence = self._new_id(), 0
        async with aclosing(self._inference.stream(_tenant(), asked)) as pieces:
            async for piece in pieces:
                sequence += 1
                if isinstance(piece, Complete):
                    spans.generated(piece)
                    trace_id = current.get().trace_id
                    yield mapping.complete(generation_id, sequence, piece, trace_id)
                else:
                    yield mapping.delta(generation_id, sequence, piece.text)

    async def CountTokens(
        self, request: pb.CountTokensRequest, context: Context
    ) -> pb.CountTokensResponse:
        """See the contract."""
        messages = mapping.messages(request.messages)
        count, model = await self._inference.count_tokens(
            _tenant(), request.model, messages, request.prefix
        )
        return pb.CountTokensResponse(
            prompt_tokens=count, context_tokens=model.context_tokens, model=model.name
        )

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:
        """See the contract."""
        asked = mapping_readings.question(request, Priority.INTERACTIVE)
        result, reading = await self._readings.classify(_tenant(), asked, request.input)
        spans.read(reading)
        return mapping_readings.classified(self._told(reading), result)

    async def BatchClassify(
        self, request: pb.BatchClassifyRequest, context: Context
    ) -> pb.BatchClassifyResponse:
        """See the contract."""
        asked = mapping_readings.question(request, Priority.BATCH)
        inputs = mapping_readings.inputs(request.inputs)
        left = context.time_remaining()
        items, reading = await self._readings.batch_classify(
            _tenant(), asked, inputs, time_left=None if left is None else timedelta(seconds=left)
        )
        spans.read(reading)
        return mapping_readings.batch_classified(self._told(reading), items)

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        """See the contract."""
        asked = mapping_readings.embedding(request)
        embeddings = await self._readings.embed(_tenant(), asked)
        spans.embedded(embeddings.reading)
        return mapping_readings.embedded(self._told(embeddings.reading), embeddings.vectors)

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """See the contract."""
        return await self._models.ListModels(request, context)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """See the contract."""
        return await self._models.GetModel(request, context)

    def _told(self, reading: Reading) -> mapping_readings.Told:
        return mapping_readings.Told(self._new_id(), reading, current.get().trace_id)


def _tenant() -> str:
    return current.get().principal.tenant
