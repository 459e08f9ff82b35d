"""The file of models that settings name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.chassis.documents.problem import Problem
from services.chassis.errors import FailedPrecondition
from services.inference.domain.entry import Wanted
from services.inference.domain.entry_document import declared

_MOST: Final = 20


def read_models(path: Path) -> Sequence[Wanted]:
    """What the file declares.

    Raises:
        FailedPrecondition: `MODELS_FILE_INVALID`; it cannot be read, or with each of its faults, by
            line and column.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror}") from None
    found, problems = declared(text)
    if problems:
        lines = [_line(path, each) for each in problems[:_MOST]]
        left = len(problems) - len(lines)
        raise _refused("; ".join([*lines, *([f"and {left} more"] if left else [])]))
    return found


def _line(path: Path, problem: Problem) -> str:
    where = f"{path}:{problem.line}:{problem.column}" if problem.line else str(path)
    said = f"{problem.field} {problem.message}".strip()
    return f"{where}: {said}" + (f" ({problem.suggested_fix})" if problem.suggested_fix else "")


def _refused(message: str) -> FailedPrecondition:
    return FailedPrecondition("MODELS_FILE_INVALID", message, field="INFERENCE_MODELS")
