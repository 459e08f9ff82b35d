"""Protobuf to entries of the catalogue and back. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from runplane.inference.v1 import entries_pb2, inference_pb2
from runplane.inference.v1 import models_pb2 as pb

from services.chassis import structs
from services.chassis.errors import ServiceError
from services.inference.domain.entry import Entry, Listed, State
from services.inference.domain.entry_document import ENTRY, RUNS
from services.inference.domain.model import Model

MAX_MASK: Final = 32
STATES: Final = {
    State.UNLOADED: entries_pb2.MODEL_STATE_UNLOADED,
    State.LOADING: entries_pb2.MODEL_STATE_LOADING,
    State.READY: entries_pb2.MODEL_STATE_READY,
    State.FAILED: entries_pb2.MODEL_STATE_FAILED,
    State.UNLOADING: entries_pb2.MODEL_STATE_UNLOADING,
}


def document(model: inference_pb2.Model) -> dict[str, object]:
    """What a caller says of an entry, without what is output only."""
    said = json_format.MessageToDict(model, preserving_proto_field_name=True)
    return {name: value for name, value in said.items() if name in ENTRY or name in RUNS}


def mask(request: pb.UpdateModelRequest) -> Sequence[str]:
    """Which members an update replaces."""
    if request.update_mask:
        return tuple(request.update_mask[:MAX_MASK])
    return tuple(name for name in document(request.model) if name != "name")


def message(listed: Listed) -> inference_pb2.Model:
    """The resource."""
    entry = listed.entry
    made = inference_pb2.Model()
    json_format.ParseDict(_shown(entry), made, ignore_unknown_fields=True)
    made.name, made.engine, made.source = entry.name, entry.engine, entry.source
    made.is_default, made.is_wanted = listed.is_default, listed.is_wanted
    made.input_price_usd, made.output_price_usd = entry.price
    made.owner, made.revision, made.state = entry.owner, entry.revision, STATES[listed.state]
    made.quantization = entry.quantization or listed.facts.quantization
    made.tokenizer = entry.tokenizer or listed.facts.tokenizer
    if listed.model is not None:
        _add_model(made, listed.model)
    if listed.failure is not None:
        made.failure.CopyFrom(_failure(listed.failure))
    _set_time(made.create_time, entry.create_time)
    _set_time(made.update_time, entry.update_time)
    return made


def _shown(entry: Entry) -> dict[str, object]:
    return {name: value for name, value in entry.document.items() if name in ENTRY or name in RUNS}


def _add_model(into: inference_pb2.Model, model: Model) -> None:
    into.version, into.engine = model.version, model.engine
    into.context_tokens, into.slots = model.context_tokens, model.slots
    into.default_max_tokens = model.default_max_tokens
    into.can_continue = model.can_continue
    into.capabilities.extend(sorted(model.capabilities))


def _failure(error: ServiceError) -> entries_pb2.ModelFailure:
    fix = error.metadata.get("suggested_fix", "")
    return entries_pb2.ModelFailure(reason=error.reason, message=error.message, suggested_fix=fix)


def _set_time(into: Timestamp, time: datetime | None) -> None:
    if time is not None:
        structs.set_time(into, time)
