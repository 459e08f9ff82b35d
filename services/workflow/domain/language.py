"""The definition language as a whole: a text or an object, read, parsed and checked. What stores
definitions and what only validates them come in here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.chassis.documents.members import MAX_PROBLEMS
from services.chassis.documents.places import Reading, Unreadable
from services.chassis.documents.problem import Problem
from services.chassis.documents.reading import plain, read
from services.chassis.errors import InvalidArgument, Violation, invalid
from services.workflow.domain import checks, parsing
from services.workflow.domain.definition import Definition


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a document is."""

    definition: Definition | None
    """None if anything is wrong with it but warnings."""
    problems: tuple[Problem, ...]
    """In the order of the text, where there is one."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that are no warnings."""
        return tuple(problem for problem in self.problems if not problem.is_warning)


def outcome(source: str | bytes | Mapping[str, object]) -> Outcome:
    """Read, parse and check: never raises, and says everything that is wrong at once."""
    try:
        reading = read(source) if isinstance(source, str | bytes) else plain(source)
    except Unreadable as error:
        return Outcome(None, (error.problem,))
    definition, found = parsing.parsed(reading)
    if definition is not None:
        found += [_placed(problem, reading) for problem in checks.problems(definition)]
    is_wrong = any(not problem.is_warning for problem in found)
    found.sort(key=lambda problem: problem.is_warning)  # However many warnings, errors are told.
    told = sorted(found[:MAX_PROBLEMS], key=lambda problem: (problem.line, problem.column))
    return Outcome(None if is_wrong else definition, tuple(told))


def made(source: str | bytes | Mapping[str, object], *, field: str) -> Outcome:
    """The same for a request, whose `field` has the document; the outcome has a definition.

    Raises:
        InvalidArgument: `DEFINITION_INVALID`, with a violation for each error.
    """
    found = outcome(source)
    if found.definition is None:
        raise refusal(found.errors, field)
    return found


def refusal(problems: tuple[Problem, ...], field: str) -> InvalidArgument:
    """The error for a definition with these problems, of which there is at least one."""
    violations = [
        Violation(_within(field, problem.field), _said(problem), problem.suggested_fix)
        for problem in problems
    ]
    return invalid(*violations, reason="DEFINITION_INVALID")


def _within(field: str, path: str) -> str:
    return f"{field}.{path}" if path and not path.startswith("[") else f"{field}{path}"


def _said(problem: Problem) -> str:
    """What is wrong, where, and what to do, for those who see nothing else of it."""
    place = f"line {problem.line}, column {problem.column}" if problem.line else ""
    beside = "; ".join(filter(None, (place, problem.suggested_fix)))
    return f"{problem.message} ({beside})" if beside else problem.message


def _placed(problem: Problem, reading: Reading) -> Problem:
    line, column = reading.place(problem.field, of_key=True)
    return replace(problem, line=line, column=column)
