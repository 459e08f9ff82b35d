"""References to large values, protobuf to domain and back. Pure."""

from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.type.v1 import content_pb2

from services.orchestrator.domain.large import Large, Part


def reference(to: Large, *, excerpt: str | None = None) -> pb.ValueReference:
    """What stands for a value; with an excerpt where there is no other place for one."""
    return pb.ValueReference(
        sha256=to.sha256, size_bytes=to.size_bytes, media_type=to.media_type, excerpt=excerpt
    )


def large(message: pb.ValueReference, *, excerpt: str) -> Large:
    """The same, as the log has it."""
    return Large(message.sha256, message.size_bytes, message.media_type, excerpt)


def cut(answer: Large, task_id: str) -> content_pb2.Warning:
    """That an answer is shown in part only, and where the whole is."""
    path = f"/v1/tasks/{task_id}/objects/{answer.sha256}"
    message = f"result is the beginning of an answer of {answer.size_bytes} bytes: see {path}"
    return content_pb2.Warning(code="RESULT_CUT", message=message)


def part(of: Large, read: Part, task_id: str) -> pb.TaskObject:
    """A part of a value."""
    return pb.TaskObject(
        task_id=task_id,
        sha256=of.sha256,
        size_bytes=of.size_bytes,
        media_type=of.media_type,
        offset=read.offset,
        text=read.text,
        next_offset=read.next_offset,
    )
