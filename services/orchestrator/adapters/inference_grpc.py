"""Models, by the inference service."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import grpc
from google.protobuf.struct_pb2 import Struct
from runplane.inference.v1 import entries_pb2, models_pb2_grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc
from runplane.type.v1 import content_pb2

from services.chassis import structs
from services.chassis.client import streaming, unary
from services.chassis.errors import FailedPrecondition, NotFound, ServiceError, Unavailable
from services.chassis.tracing import names
from services.chassis.tracing.rpc import method
from services.chassis.tracing.spans import (
    CLIENT,
    Facts,
    Nothing,
    Span,
    Value,
    beside,
    has_content,
    is_recording,
)
from services.orchestrator.adapters.cached import CachedForTenants
from services.orchestrator.adapters.replicas import Replicas
from services.orchestrator.domain.events import Message, Turn
from services.orchestrator.inferences import Inferences
from services.orchestrator.mapping.sampling import sampling
from services.orchestrator.ports import Generation, Model, Piece

_PAGE = 1000
_KEPT = 64
_CHAT = {
    **method("runplane.inference.v1.InferenceService", "StreamGenerate").facts,
    names.OPERATION: "chat",
    names.PROVIDER: "runplane",
}
# A service of an earlier release says nothing of states.
USABLE = (entries_pb2.MODEL_STATE_UNSPECIFIED, entries_pb2.MODEL_STATE_READY)


class GrpcModels:
    """Asks the inference service; its list of models may be `ttl` old."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        replicas: Replicas,
        *,
        timeout: timedelta,
        ttl: timedelta,
    ) -> None:
        """What is read comes from any replica, by `channel`; `replicas` share the generations."""
        self.measures = Inferences()
        self._replicas = replicas
        self._stub: pb_grpc.InferenceServiceAsyncStub = pb_grpc.InferenceServiceStub(channel)
        of_models: models_pb2_grpc.ModelServiceAsyncStub = models_pb2_grpc.ModelServiceStub(channel)
        self._list, self._get = of_models.ListModels, of_models.GetModel
        self._timeout = timeout.total_seconds()
        self._known = CachedForTenants(self._fetch, ttl)
        self._structs: dict[int, tuple[Mapping[str, object], Struct]] = {}

    async def resolve(self, name: str) -> Model:
        """The model of this name; empty means the default."""
        known = await self._known.get()
        if (model := known.get(name) or await self._looked_up(name)) is None:
            raise _not_found(name, ", ".join(sorted(filter(None, known))))
        return model

    async def known(self) -> Mapping[str, Model]:
        """All models that can be asked, by each of their names; the default one also by none."""
        return await self._known.get()

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """How long a prompt is, the start of the turn included."""
        sent = map(_message, messages)
        request = pb.CountTokensRequest(model=model, messages=sent, prefix=prefix)
        counted = await unary(self._stub.CountTokens, request, timeout=self._timeout)
        return counted.prompt_tokens

    async def generate(
        self, generation: Generation, *, timeout: float
    ) -> AsyncGenerator[Piece, None]:
        """One turn; closing the generator closes the call, which stops the engine."""
        request = self._request(generation)
        asking = self.measures.begin(generation.model)
        with self._replicas.lent(generation) as replica, asking:
            chat = beside(f"chat {generation.model}", CLIENT, _facts(generation), always=_CHAT)
            call = streaming(replica.stub.StreamGenerate, request, timeout=timeout, span=chat)
            with chat:
                async with aclosing(call) as messages:
                    async for message in messages:
                        piece = _piece(message)
                        asking.heard(piece.turn)
                        _ended(chat, piece)
                        yield piece

    def _request(self, generation: Generation) -> pb.GenerateRequest:
        request = pb.GenerateRequest(
            model=generation.model,
            messages=map(_message, generation.messages),
            sampling=sampling(replace(generation.sampling, max_tokens=generation.max_tokens)),
            prefix=generation.prefix,
            priority=generation.priority,
        )
        if generation.schema is not None:
            request.response_schema.CopyFrom(self._struct(generation.schema))
        return request

    def _struct(self, schema: Mapping[str, object]) -> Struct:
        """Steps with the same tools have the same schema: the object itself is the key."""
        if (kept := self._structs.get(id(schema))) is not None and kept[0] is schema:
            return kept[1]
        if len(self._structs) >= _KEPT:
            self._structs.clear()
        struct = structs.from_dict(schema, Struct())
        self._structs[id(schema)] = schema, struct
        return struct

    async def _looked_up(self, name: str) -> Model | None:
        """A model that is new, or that cannot be asked now; None if there is none.

        Raises:
            FailedPrecondition: `MODEL_NOT_LOADED`.
            Unavailable: `ENGINE_LOADING`.
        """
        if not name:
            return None
        try:
            found = await unary(self._get, pb.GetModelRequest(name=name), timeout=self._timeout)
        except NotFound:
            return None
        if found.state not in USABLE:
            raise _not_usable(found)
        return _model(found)

    async def _fetch(self) -> Mapping[str, Model]:
        request = pb.ListModelsRequest(page_size=_PAGE)
        listed = await unary(self._list, request, timeout=self._timeout)
        usable = [model for model in listed.models if model.state in USABLE]
        known = {alias: _model(model) for model in usable for alias in model.aliases}
        known |= {model.name: _model(model) for model in usable}
        for default in (model for model in usable if model.is_default):
            known[""] = known[default.name]
        return known


def _facts(generation: Generation) -> Facts | None:
    if not is_recording():
        return None
    facts: dict[str, Value] = {
        names.MODEL: generation.model,
        names.MAX_TOKENS: generation.max_tokens,
    }
    if has_content():
        said = [{"role": each.role, "content": each.content} for each in generation.messages]
        facts[names.INPUT] = json.dumps(said, ensure_ascii=False)
    return facts


def _ended(chat: Span | Nothing, last: Piece) -> None:
    turn = last.turn
    if isinstance(chat, Nothing) or turn is None:
        return
    chat.set(names.FINISH, [last.finish_reason])
    chat.set(names.INPUT_TOKENS, turn.prompt_tokens)
    chat.set(names.OUTPUT_TOKENS, turn.completion_tokens)
    chat.set(names.CACHED_TOKENS, turn.cached_tokens)


def _not_usable(model: pb.Model) -> ServiceError:
    if model.state == entries_pb2.MODEL_STATE_LOADING:
        message = f"{model.name} is being loaded; try again in a second"
        return Unavailable("ENGINE_LOADING", message, model=model.name).after(timedelta(seconds=1))
    why = f": {model.failure.message}" if model.failure.message else ""
    return FailedPrecondition(
        "MODEL_NOT_LOADED",
        f"{model.name} is not loaded{why}",
        field="model",
        model=model.name,
        suggested_fix=f"load it: POST /v1/models/{model.name}:load, or use another model",
    )


def _model(message: pb.Model) -> Model:
    return Model(
        message.name,
        message.version,
        message.context_tokens,
        message.default_max_tokens,
        message.can_continue,
        message.input_price_usd,
        message.output_price_usd,
        frozenset(message.capabilities),
        message.size_class,
    )


def _not_found(name: str, names: str) -> NotFound:
    """That a model is not there; without a name, that none is the default."""
    message = f"there is no model {name}; there are {names or 'none'}"
    fix = f"use one of {names}, or leave model out for the default"
    if not name:
        message = f"no model that is served can answer; there are {names or 'none'}"
        fix = "load or serve one whose capabilities include generate; docs/models.md says how"
    elif not names:
        fix = "serve one; docs/models.md says how"
    return NotFound(
        "MODEL_NOT_FOUND", message, field="model", model=name, known=names, suggested_fix=fix
    )


def _message(message: Message) -> content_pb2.Message:
    return content_pb2.Message(role=message.role, content=message.content)


def _piece(message: pb.StreamGenerateResponse) -> Piece:
    if message.type != "complete":
        return Piece(message.text)
    usage = message.usage
    turn = Turn(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    return Piece(message.text, message.finish_reason, turn, message.metadata.model_version)
