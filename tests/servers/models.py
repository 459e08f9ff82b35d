"""An inference service of which tests decide what its models say, and when one of them dies."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc
from runplane.inference.v1 import models_pb2_grpc

from services.chassis.errors import NotFound, ServiceError, Unavailable
from services.chassis.server import serving
from services.chassis.settings import ServerSettings

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=0)


@dataclass
class Mind:
    """A model: its words come one after the other, each once it may."""

    words: Sequence[str] = ("Hello",)
    pauses_after: int | None = None
    """After so many words it waits until it is killed or told to go on."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    asked: list[pb.GenerateRequest] = field(default_factory=list)
    going: int = 0
    """Turns that are under way."""
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    fault: ServiceError | None = None

    def kill(self) -> None:
        """Fail what is under way, and all that comes."""
        self.fault = Unavailable("ENGINE_FAILED", "the engine failed: killed")
        self.goes_on.set()

    async def say(self, request: pb.GenerateRequest) -> AsyncIterator[str]:
        """A turn's words, after those of its prefix."""
        self.asked.append(request)
        self.going += 1
        try:
            said = len(request.prefix.split())
            for number, word in enumerate(self.words[said:], said):
                if number == self.pauses_after:
                    self.waits.set()
                    await self.goes_on.wait()
                if self.fault is not None:
                    raise self.fault
                yield word
        finally:
            self.going -= 1
            self.stopped.set()


class Listed(models_pb2_grpc.ModelServiceServicer):
    """Shows models of tests, the first one as the default."""

    def __init__(self, minds: Mapping[str, Mind]) -> None:
        self._minds = minds

    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """All of them."""
        return pb.ListModelsResponse(models=map(self._model, self._minds))

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """One of them."""
        if request.name not in self._minds:
            raise NotFound("MODEL_NOT_FOUND", f"there is no model {request.name}")
        return self._model(request.name)

    def _model(self, name: str) -> pb.Model:
        facts = {
            "name": name,
            "version": "1",
            "context_tokens": 4096,
            "default_max_tokens": 128,
            "can_continue": True,
            "capabilities": ["generate", "continue", "schema"],
            "is_default": name == next(iter(self._minds)),
        }
        return pb.Model(**facts | dict(self._minds[name].facts))


class Minds(pb_grpc.InferenceServiceServicer):
    """Speaks for models of tests."""

    def __init__(self, minds: Mapping[str, Mind]) -> None:
        self._minds = minds

    async def CountTokens(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """The words of a prompt."""
        return pb.CountTokensResponse(prompt_tokens=_count(request))

    async def StreamGenerate(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """What the model says."""
        said = 0
        async for word in self._minds[request.model].say(request):
            said += 1
            yield pb.StreamGenerateResponse(type="delta", sequence=said, text=word)
        end = pb.StreamGenerateResponse(type="complete", sequence=said + 1, finish_reason="stop")
        end.usage.prompt_tokens, end.usage.completion_tokens = _count(request), said
        yield end


def _count(request: pb.GenerateRequest | pb.CountTokensRequest) -> int:
    told = [message.content for message in request.messages]
    return sum(len(text.split()) for text in (*told, request.prefix))


@asynccontextmanager
async def serving_models(minds: Mapping[str, Mind]) -> AsyncIterator[str]:
    """Serve them; where."""

    def register(server: grpc.aio.Server) -> None:
        pb_grpc.add_InferenceServiceServicer_to_server(Minds(minds), server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(Listed(minds), server)

    service = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name
    async with serving(
        LOOPBACK, domain="inference.runplane.dev", register=[register], services=[service]
    ) as server:
        yield server.address
