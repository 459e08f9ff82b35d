"""The `calculator`: arithmetic that is exact where integers are, and bounded everywhere."""

import math
import operator
from collections.abc import Callable
from datetime import timedelta
from difflib import get_close_matches
from typing import Final, TypeAlias

from services.chassis.schema import Schema
from services.tool_registry.adapters.builtin import expression as ex
from services.tool_registry.domain.tool import Definition, Entry, Example, ToolFailure
from services.tool_registry.ports import Answer, Invocation

MAX_CHARACTERS: Final = 200
MAX_RESULT: Final = 2**53
MAX_BITS: Final = 1024  # Of an integer on the way to the result.
MAX_PLACES: Final = 15

_Value: TypeAlias = int | float

DEFINITION: Final = Definition(
    name="calculator",
    version="1.0.0",
    description=(
        "Calculates an arithmetic expression exactly: + - * / // % **, parentheses, sqrt, abs, "
        "round, min, max, floor, ceil, log, exp, sin, cos, tan, pi, e."
    ),
    input_schema=Schema(
        {
            "type": "object",
            "properties": {
                "expression": {
                    "type": "string",
                    "description": "Arithmetic only, such as (3 + 4) * 12",
                    "minLength": 1,
                    "maxLength": MAX_CHARACTERS,
                }
            },
            "required": ["expression"],
            "additionalProperties": False,
        },
        field="input",
    ),
    output_schema=Schema(
        {
            "type": "object",
            "properties": {
                "value": {"type": "number", "minimum": -MAX_RESULT, "maximum": MAX_RESULT}
            },
            "required": ["value"],
            "additionalProperties": False,
        },
        field="output",
    ),
    examples=(
        Example("What is 23 * 19?", {"expression": "23 * 19"}, {"value": 437}),
        Example("How much is 130 plus 45?", {"expression": "130 + 45"}, {"value": 175}),
        Example("Compute (8 - 3) * 2 + 1.", {"expression": "(8 - 3) * 2 + 1"}, {"value": 11}),
        Example("What is 15 percent of 80?", {"expression": "80 * 15 / 100"}, {"value": 12}),
        Example(
            "How long is the diagonal of a square of side 5?",
            {"expression": "sqrt(5**2 + 5**2)"},
            {"value": 7.07106781186548},
        ),
    ),
    timeout=timedelta(seconds=1),
)


class Calculator:
    """A tool. It takes microseconds: expression, tree and numbers are bounded."""

    entry = Entry(DEFINITION)
    unavailable = ""

    async def call(self, invocation: Invocation) -> Answer:
        """See the definition."""
        return Answer({"value": calculate(str(invocation.arguments["expression"]))})


def calculate(text: str) -> _Value:
    """The value of an expression. Floats are rounded to 15 digits, so that 0.1 + 0.2 is 0.3.

    Raises:
        ToolFailure: `EXPRESSION_INVALID`, `DIVISION_BY_ZERO`, `RESULT_TOO_LARGE` or
            `RESULT_UNDEFINED`.
    """
    if len(text) > MAX_CHARACTERS:
        fix = f"use at most {MAX_CHARACTERS} characters"
        raise ToolFailure("EXPRESSION_INVALID", "the expression is too long", fix)
    tree = ex.parse(text)
    try:
        value = _value(tree)
    except ZeroDivisionError:
        fix = "change the divisor to something other than 0"
        raise ToolFailure("DIVISION_BY_ZERO", "the expression divides by zero", fix) from None
    except OverflowError:
        raise _too_large() from None
    except ValueError:
        fix = "sqrt needs a value of at least 0, log a value above 0"
        message = "the expression has no real value"
        raise ToolFailure("RESULT_UNDEFINED", message, fix) from None
    return _presented(value)


def _presented(value: _Value) -> _Value:
    if isinstance(value, float):
        value = float(f"{value:.15g}")
        if value.is_integer():
            value = int(value)
    if abs(value) > MAX_RESULT:
        raise _too_large()
    return value


def _too_large() -> ToolFailure:
    message = "a number is too large: results go up to 2**53"
    return ToolFailure("RESULT_TOO_LARGE", message, "use smaller numbers, or calculate its log")


def _value(node: ex.Node) -> _Value:
    if isinstance(node, ex.Number):
        return _bounded(node.value)
    if isinstance(node, ex.Name):
        return _constant(node)
    if isinstance(node, ex.Sign):
        value = _value(node.value)
        return -value if node.symbol == "-" else value
    if isinstance(node, ex.Operation):
        return _bounded(_OPERATIONS[node.symbol](_value(node.left), _value(node.right)))
    return _bounded(_called(node))


def _bounded(value: _Value) -> _Value:
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise OverflowError
    elif not math.isfinite(value):
        raise OverflowError
    return value


def _power(base: _Value, exponent: _Value) -> _Value:
    if isinstance(base, int) and isinstance(exponent, int):
        if base.bit_length() * exponent > 2 * MAX_BITS and abs(base) > 1:
            raise OverflowError
    elif base < 0 and not float(exponent).is_integer():
        raise ValueError("the root of a negative number is not real")
    result: _Value = base**exponent
    return result


def _rounded(value: _Value, places: _Value = 0) -> _Value:
    if not isinstance(places, int) or abs(places) > MAX_PLACES:
        raise ValueError("not a number of places")
    return round(value, places) if places else round(value)


def _logarithm(value: _Value, base: _Value = math.e) -> float:
    if base == 1:
        raise ValueError("1 is the base of no logarithm")
    return math.log(value) if base == math.e else math.log(value, base)


_OPERATIONS: Final[dict[str, Callable[[_Value, _Value], _Value]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": _power,
}
_CONSTANTS: Final[dict[str, float]] = {"pi": math.pi, "e": math.e}
# Each with how many arguments it takes, at least and at most.
_FUNCTIONS: Final[dict[str, tuple[Callable[..., _Value], int, int]]] = {
    "sqrt": (math.sqrt, 1, 1),
    "abs": (abs, 1, 1),
    "round": (_rounded, 1, 2),
    "min": (lambda *values: min(values), 1, MAX_CHARACTERS),
    "max": (lambda *values: max(values), 1, MAX_CHARACTERS),
    "floor": (math.floor, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "log": (_logarithm, 1, 2),
    "exp": (math.exp, 1, 1),
    "sin": (math.sin, 1, 1),
    "cos": (math.cos, 1, 1),
    "tan": (math.tan, 1, 1),
}


def _constant(node: ex.Name) -> float:
    if node.name in _CONSTANTS:
        return _CONSTANTS[node.name]
    if node.name in _FUNCTIONS:
        fix = f"write {node.name}(…)"
        raise ex.invalid(f"{node.name} lacks its parentheses", node.position, fix)
    raise _unknown(node.name, node.position)


def _called(node: ex.Call) -> _Value:
    if node.name not in _FUNCTIONS:
        raise _unknown(node.name, node.position)
    function, least, most = _FUNCTIONS[node.name]
    if not least <= len(node.arguments) <= most:
        takes = str(least) if least == most else f"{least} to {most}"
        message = f"{node.name} takes {takes} values, not {len(node.arguments)},"
        raise ex.invalid(message, node.position, f"give {node.name} {takes} values")
    return function(*map(_value, node.arguments))


def _unknown(name: str, position: int) -> ToolFailure:
    known = [*_FUNCTIONS, *_CONSTANTS]
    close = get_close_matches(name, known, 1)
    fix = f"use {close[0]}" if close else f"use numbers and {', '.join(known)}"
    return ex.invalid(f"unknown name {name[:32]!r}", position, fix)
