"""What clients say to tasks under way. Pure."""

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis import structs
from services.chassis.errors import Violation, invalid
from services.orchestrator.domain.letters import Cancel, Decide, Return, Say
from services.orchestrator.mapping import tasks
from services.orchestrator.usecases.talks import Join, Said


def said(message: pb.ConverseRequest, author: str, key: str) -> Said:
    """One message of a talk.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it says nothing, or what JSON does not.
    """
    match message.WhichOneof("message"):
        case "start":
            return tasks.request(message.start, key)
        case "join":
            return Join(message.join.task_id, message.join.after_sequence)
        case "user_message":
            return Say(message.user_message.text, author)
        case "tool_result":
            return returned(message.tool_result)
        case "approval":
            of = message.approval
            return Decide(of.tool_call_id, of.approved, of.comment, author)
        case "cancel":
            return Cancel(message.cancel.reason)
    fix = "send start, join, user_message, tool_result, approval or cancel"
    raise invalid(Violation("message", "is empty", fix))


def returned(message: pb.ToolResult | pb.SubmitToolResultRequest) -> Return:
    """What came of a call that the client ran."""
    has_output = message.HasField("output")
    output = structs.to_value(message.output, field="output") if has_output else None
    return Return(message.tool_call_id, output, message.error)
