"""The file of models that settings name."""

from collections.abc import Sequence
from pathlib import Path

from services.chassis.documents.report import report, unreadable
from services.chassis.errors import FailedPrecondition
from services.inference.domain.entry import Wanted
from services.inference.domain.entry_document import declared


def read_models(path: Path) -> Sequence[Wanted]:
    """What the file declares.

    Raises:
        FailedPrecondition: `MODELS_FILE_INVALID`; it cannot be read, or with each of its faults, by
            line and column.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _refused(unreadable("models", path, error)) from None
    found, problems = declared(text)
    if problems:
        raise _refused(report("models", path, problems))
    return found


def _refused(message: str) -> FailedPrecondition:
    return FailedPrecondition("MODELS_FILE_INVALID", message, field="INFERENCE_MODELS")
