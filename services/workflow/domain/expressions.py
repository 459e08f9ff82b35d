"""CEL over an instance's data, compiled once and bounded: nothing a definition says can hold a
process for long or fill its memory. Decision 22 says how the bounds were found.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from services.chassis.errors import FailedPrecondition
from services.workflow.domain import cel_values
from services.workflow.domain.cel_costs import (
    MAX_COST,
    MAX_WORK,
    TEXTS,
    ExpressionError,
    Shape,
    at,
    shape,
)

MAX_LENGTH: Final = 2 * 1024
MAX_FILLED: Final = 1024 * 1024
"""Characters of what a template's expressions become, as JSON."""

VARIABLES: Final = ("data", "workflow")
"""What every expression sees."""
GUARDING: Final = (*VARIABLES, "payload", "target")
"""What the expressions of a validator see."""
UNDOING: Final = (*VARIABLES, "output")
"""What the expressions of a compensation see."""

_CACHED: Final = 512
_SAID: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Expression:
    """A compiled expression. Made by `compiled`."""

    def __init__(self, text: str, program: Any, shape: Shape) -> None:
        self.text = text
        self._program = program
        self._shape = shape

    def work(self, extent: cel_values.Extent) -> int:
        """How much work an evaluation over variables of this extent is: see `Shape.work`."""
        return self._shape.work(extent, len(self.text))

    def value(
        self, variables: Mapping[str, object], extent: cel_values.Extent | None = None
    ) -> object:
        """What it is over these variables, as JSON: times are RFC 3339, durations `90s`. `extent`
        is theirs, where it is known.

        Raises:
            FailedPrecondition: `EXPRESSION_FAILED`: it has no value, or none that JSON has, or
                would take long.
        """
        extent = extent or cel_values.extent(variables)
        if extent.fault:
            raise self._failed(f"sees a text that {extent.fault}")
        if self._shape.macros and self._shape.cost(extent, len(self.text)) > MAX_COST:
            raise self._failed("would take too long over so much data: use shorter lists or texts")
        try:
            found = self._program.eval(data=variables)
            return cel_values.json_value(found)
        except cel_values.NoResult as error:
            raise self._failed(str(error)) from None
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise self._failed(_first_line(error)) from None

    def _failed(self, why: str) -> FailedPrecondition:
        return _failure(self.text, why)


def _failure(text: str, why: str) -> FailedPrecondition:
    shown = text if len(text) <= 128 else f"{text[:128]}…"
    return FailedPrecondition(
        "EXPRESSION_FAILED", f"the expression {shown!r} {why}", expression=shown, problem=why
    )


@lru_cache(_CACHED)
def compiled(text: str, known: tuple[str, ...] = GUARDING) -> Expression:
    """The expression, compiled; `known` are the variables it may use.

    Raises:
        ExpressionError: it is no CEL, uses what is not known, or is beyond bounds.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed")
    if not text.strip():
        raise ExpressionError("is empty")
    if control := _CONTROL.search(text):
        raise at("has a control character", text, control.start())
    bounds = shape(text)
    try:
        return Expression(text, _environment(known).compile(text), bounds)
    except RuntimeError as error:
        raise _explained(error) from None


@lru_cache(8)
def _environment(known: tuple[str, ...]) -> Any:
    return cel.NewEnv(variables=dict.fromkeys(known, cel.Type.DYN))


def _explained(error: RuntimeError) -> ExpressionError:
    """The first thing that the compiler says, and where."""
    said = str(error)
    if "recursion" in said:
        return ExpressionError("is nested too deeply (32 levels, or 31 times + in a row)")
    if (found := _SAID.search(said)) is None:
        return ExpressionError(_first_line(error))
    message = found[3].partition(" expecting ")[0].partition(" (in container")[0]
    message = message.replace("mismatched input '<EOF>'", "it ends too early")
    return ExpressionError(message, max(int(found[1]), 1), max(int(found[2]), 1))


def _first_line(error: BaseException) -> str:
    first, _, _ = str(error).partition("\n")
    status, colon, said = first.partition(": ")
    return f"fails: {(said if colon and status.isupper() else first)[:200]}"


def filled(template: object, variables: Mapping[str, object]) -> Any:
    """The template with its expressions evaluated: a text that is one `${…}` whole becomes its
    value, elsewhere the value stands in the text (`$${` for a plain `${`).

    Raises:
        FailedPrecondition: `EXPRESSION_FAILED`, as of `Expression.value`.
    """
    return _Filling(variables).value(template)


def written(template: object, path: str = "") -> list[tuple[str, str]]:
    """The expressions of a template: the path of each one's text, and what stands in it. One that
    is not closed goes to the end of its text, with its `${`."""
    found: list[tuple[str, str]] = []
    pending: list[tuple[str, object]] = [(path, template)]
    while pending:
        here, part = pending.pop()
        if isinstance(part, str):
            found += [(here, text) for text in _expressions(part)]
        elif isinstance(part, Mapping):
            pending += [(f"{here}.{name}", each) for name, each in reversed([*part.items()])]
        elif isinstance(part, list):
            pending += [(f"{here}[{n}]", each) for n, each in reversed([*enumerate(part)])]
    return found


def _expressions(text: str) -> list[str]:
    try:
        return [piece for piece, is_expression in _pieces(text) if is_expression]
    except ExpressionError:
        return [text[max(text.rfind("${"), 0) :]]


def fault(text: str, known: tuple[str, ...]) -> ExpressionError | None:
    """Why it cannot be evaluated where these variables are known; None if it can."""
    if text.startswith("${"):
        return ExpressionError("is not closed: } is missing")
    try:
        compiled(text, known)
    except ExpressionError as error:
        return error
    return None


class _Filling:
    """Counts what it puts in, and how much work that is: a few words of a template may each stand
    for all of the data."""

    def __init__(self, variables: Mapping[str, object]) -> None:
        self._variables = variables
        self._known = tuple(sorted(variables))
        self._extent = cel_values.Extent()
        self._characters = self._work = 0

    def value(self, template: object) -> Any:
        if isinstance(template, Mapping):
            return {name: self.value(each) for name, each in template.items()}
        if isinstance(template, list | tuple):
            return [self.value(each) for each in template]
        return self._text(template) if isinstance(template, str) else template

    def _text(self, text: str) -> object:
        if "${" not in text:
            return text
        try:
            pieces = _pieces(text)
        except ExpressionError as error:
            raise _failure(text, error.message) from None
        if len(pieces) == 1 and pieces[0][1]:
            return self._evaluated(pieces[0][0])[0]
        return "".join(self._shown(piece) if is_made else piece for piece, is_made in pieces)

    def _shown(self, expression: str) -> str:
        value, written = self._evaluated(expression)
        return value if isinstance(value, str) else written

    def _evaluated(self, expression: str) -> tuple[object, str]:
        try:
            value = self._value(compiled(expression, self._known))
        except ExpressionError as error:  # Of a definition that was accepted with other bounds.
            raise _failure(expression, error.message) from None
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        self._characters += len(written)
        if self._characters > MAX_FILLED:
            raise _failure(expression, f"makes the input larger than {MAX_FILLED:,} characters")
        self._add(expression, 0 if isinstance(value, str) else 4 * len(written))
        return value, written

    def _value(self, expression: Expression) -> object:
        self._extent = self._extent if self._extent.values else cel_values.extent(self._variables)
        self._add(expression.text, expression.work(self._extent))
        return expression.value(self._variables, self._extent)

    def _add(self, expression: str, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            said = "takes too long together with those before it: use fewer, or less data"
            raise _failure(expression, said)


@lru_cache(_CACHED)
def _pieces(text: str) -> tuple[tuple[str, bool], ...]:
    """A text in parts: each with whether it is an expression."""
    pieces: list[tuple[str, bool]] = []
    plain, index = "", 0
    while (start := text.find("${", index)) >= 0:
        if start > 0 and text[start - 1] == "$":  # $${ says ${.
            plain, index = plain + text[index : start - 1] + "${", start + 2
            continue
        end = _end(text, start + 2)
        plain += text[index:start]
        pieces += [(plain, False)] if plain else []
        pieces.append((text[start + 2 : end], True))
        plain, index = "", end + 1
    plain += text[index:]
    return (*pieces, (plain, False)) if plain or not pieces else tuple(pieces)


def _end(text: str, index: int) -> int:
    """Where the expression ends that begins here: at the brace that closes it."""
    depth = 0
    while index < len(text):
        if quoted := TEXTS.match(text, index):
            index = quoted.end()
            continue
        if text[index] == "}" and depth == 0:
            return index
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        index += 1
    raise ExpressionError("is not closed: } is missing")
