"""The errors about entries of the catalogue."""

from services.chassis.errors import Aborted, AlreadyExists, NotFound


def taken(name: str) -> AlreadyExists:
    """The error for a name that is somebody's already."""
    return AlreadyExists(
        "MODEL_ALREADY_EXISTS",
        f"there is a model {name} already",
        model=name,
        field="model.name",
        suggested_fix="choose another name, or PATCH the one that is there",
    )


def missing(name: str) -> NotFound:
    """The error for an entry that is not there."""
    return NotFound(
        "MODEL_NOT_FOUND",
        f"there is no model {name[:64]!r} to change",
        model=name[:64],
        field="name",
        suggested_fix="GET /v1/models lists them",
    )


def conflict(name: str) -> Aborted:
    """The error for a change of what somebody else changed first."""
    return Aborted(
        "MODEL_CONFLICT",
        f"somebody else changed {name} meanwhile",
        model=name,
        field="revision",
        suggested_fix="read it again, and send the change with its revision",
    )
