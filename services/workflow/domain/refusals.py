"""The errors of workflows that more than one part raises. Pure."""

from typing import Final

from services.chassis.errors import Internal, NotFound, ServiceError

CORRUPT: Final = "WORKFLOW_CORRUPT"


def missing(workflow_id: str) -> NotFound:
    """The error for a workflow that is not there."""
    return NotFound(
        "WORKFLOW_NOT_FOUND",
        f"there is no workflow {workflow_id[:64]}",
        field="workflow_id",
        workflow_id=workflow_id[:64],
        suggested_fix="use a workflow_id of GET /v1/workflows",
    )


def corrupt(workflow_id: str, sequence: int) -> Internal:
    """The error for a workflow whose events are not what was recorded: this one is the first that
    cannot be read, or cannot have happened."""
    return Internal(
        "WORKFLOW_CORRUPT",
        f"event {sequence} of {workflow_id[:64]} cannot be read or cannot have happened",
        workflow_id=workflow_id[:64],
        sequence=str(sequence),
        suggested_fix="use :verify to see what is wrong, and restore its events from a backup",
    )


def is_corrupt(error: ServiceError, workflow_id: str) -> bool:
    """Whether an error says that this workflow, and not one that it asked for, is corrupt."""
    return error.reason == CORRUPT and error.metadata.get("workflow_id") == workflow_id
