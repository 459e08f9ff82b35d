"""Definitions to protobuf. Pure."""

from datetime import datetime
from typing import Final

from runplane.workflow.v1 import definitions_pb2 as pb

from services.chassis import structs
from services.chassis.filtering import Fields
from services.workflow.domain.definition import Definition

FILTERED: Final = Fields({"name"}, (), {})


def packed(definition: Definition, owner: str, time: datetime | None = None) -> pb.Definition:
    """One version, stored at that time; None: it is only looked at."""
    states = definition.states.values()
    message = pb.Definition(
        name=definition.name,
        version=definition.version,
        description=definition.description,
        initial_state=definition.initial,
        states=[state.name for state in states],
        terminal_states=[state.name for state in states if state.terminal is not None],
        event_source=str(definition.source) if definition.source else "",
        owner=owner,
    )
    structs.from_dict(definition.document, message.definition, field="definition")
    if time is not None:
        structs.set_time(message.create_time, time)
    return message


def document(message: pb.Definition) -> dict[str, object]:
    """The document of a version that was stored."""
    return structs.to_dict(message.definition, field="definition")
