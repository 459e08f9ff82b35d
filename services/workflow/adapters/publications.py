"""What the event bus is told of workflows: a CloudEvent for each event of the log."""

from collections.abc import Sequence
from datetime import UTC
from typing import Final, Literal

from google.protobuf import json_format
from runplane.workflow.v1 import events_pb2 as pb

from services.chassis.context import traceparent_of
from services.chassis.eventbus import cloudevents
from services.chassis.eventbus.cloudevents import CloudEvent
from services.chassis.eventbus.port import Message
from services.chassis.eventlog.backlog import Backlog
from services.workflow.adapters.codec import Encoded
from services.workflow.domain.definition import Definition, Source

SOURCE: Final = "/runplane/workflow"
Format = Literal["json", "protobuf"]
_TYPES: Final[dict[Format, str]] = {
    "json": "application/json",
    "protobuf": "application/protobuf",
}


class Publications:
    """Makes messages for the outbox. Their values are `WorkflowEvent` as JSON with snake_case
    names, or as protobuf."""

    def __init__(self, backlog: Backlog, value: Format) -> None:
        self._backlog = backlog
        self._value = value

    def messages(self, definition: Definition, new: Encoded) -> Sequence[Message]:
        """The messages for new events; none where the definition has no event source."""
        if definition.source is None:
            return ()
        topic = topic_of(definition.source)
        return [
            self._message(topic, message, stored.body)
            for message, stored in zip(new.messages, new.stored, strict=True)
        ]

    def admit(self, definition: Definition, count: int) -> None:
        """Let so many in. Raises ResourceExhausted `OUTBOX_FULL`."""
        if definition.source is not None:
            self._backlog.admit(topic_of(definition.source), count)

    def _message(self, topic: str, event: pb.WorkflowEvent, body: bytes) -> Message:
        if self._value == "json":
            body = json_format.MessageToJson(
                event,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                indent=None,
                ensure_ascii=False,
            ).encode()
        return cloudevents.packed(
            CloudEvent(
                id=f"{event.workflow_id}/{event.sequence}",
                source=SOURCE,
                type=event.event_type,
                data=body,
                content_type=_TYPES[self._value],
                subject=event.workflow_id,
                time=event.timestamp.ToDatetime(tzinfo=UTC),
                key=event.workflow_id,
                traceparent=traceparent_of(event.trace_id) if event.trace_id else "",
                extensions={"tenant": event.tenant, "correlationid": event.correlation_id},
            ),
            topic,
        )


def topic_of(source: Source) -> str:
    """The topic as the outbox knows it."""
    return f"{source.alias}/{source.topic}"
