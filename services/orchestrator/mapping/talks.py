"""What clients say to tasks under way. Pure."""

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis import structs
from services.chassis.errors import Violation, invalid
from services.orchestrator.domain.letters import Cancel, Decide, Respond, Return, Say
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
            return Say(message.user_message.text, author, message.user_message.idempotency_key)
        case "tool_result":
            return returned(message.tool_result, author)
        case "approval":
            of = message.approval
            return Decide(of.tool_call_id, of.approved, of.comment, author)
        case "cancel":
            return Cancel(message.cancel.reason)
    fix = "send start, join, user_message, tool_result, approval or cancel"
    raise invalid(Violation("message", "is empty", fix))


def returned(message: pb.ToolResult | pb.SubmitToolResultRequest, author: str) -> Return | Respond:
    """What came of a call that the client ran, or what a tool asked for.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it says both, or what JSON does not.
    """
    if message.HasField("input_responses"):
        if message.HasField("output") or message.error:
            field = "output" if message.HasField("output") else "error"
            fix = "send input_responses alone, or leave them out"
            raise invalid(Violation(field, "comes together with input_responses", fix))
        responses = structs.to_dict(message.input_responses, field="input_responses")
        return Respond(message.tool_call_id, responses, author)
    has_output = message.HasField("output")
    output = structs.to_value(message.output, field="output") if has_output else None
    return Return(message.tool_call_id, output, message.error)
