"""Arithmetic as text to a small tree. It knows numbers, operators and calls, and nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from services.tool_registry.domain.tool import ToolFailure

MAX_DEPTH: Final = 50

# What people write, and what it means.
_SPELLINGS: Final = {"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**"}  # noqa: RUF001
_TOKENS: Final = r"""\s*(?:
      (?P<number> (?:INTEGER(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})? )
    | (?P<name> [A-Za-z][A-Za-z0-9_]* )
    | (?P<symbol> \*\*|//|[-+*/%(),^×·÷−] )
    | (?P<end> $ )
    )"""  # noqa: RUF001
_INTEGER: Final = "[0-9][0-9_]*"
# As in 1,234,567. Between the arguments of a function a comma is a comma.
_GROUPED: Final = rf"(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9,])|{_INTEGER})"
_ARGUMENT: Final = re.compile(_TOKENS.replace("INTEGER", _INTEGER), re.VERBOSE)
_PLAIN: Final = re.compile(_TOKENS.replace("INTEGER", _GROUPED), re.VERBOSE)

# Binary operators: how tightly they bind, and to the right where the order is odd. A unary sign
# binds less than a power and more than a product, as in Python: -2**2 is -4.
_POWER: Final = 4
_SIGN: Final = 3
_BINDING: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "**": _POWER}


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Name:
    """A constant."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Sign:
    """`+` or `-` before a value."""

    symbol: str
    value: "Node"


@dataclass(frozen=True, slots=True)
class Operation:
    """Two values and what stands between them."""

    symbol: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of values."""

    name: str
    arguments: Sequence["Node"]
    position: int


Node: TypeAlias = Number | Name | Sign | Operation | Call


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse(text: str) -> Node:
    """The tree of an expression, at most `MAX_DEPTH` deep.

    Raises:
        ToolFailure: `EXPRESSION_INVALID`, with the position, counted from 1.
    """
    parser = _Parser(_tokens(text))
    tree = parser.expression(0, 0)
    parser.expect("end", "")
    return tree


def invalid(message: str, position: int, fix: str) -> ToolFailure:
    """The failure for something wrong at a position, counted from 0."""
    return ToolFailure("EXPRESSION_INVALID", f"{message} at position {position + 1}", fix)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    calls: list[bool] = []  # For each open parenthesis: does it hold a function's arguments?
    position, kind = 0, ""
    while kind != "end":
        pattern = _ARGUMENT if calls and calls[-1] else _PLAIN
        if (found := pattern.match(text, position)) is None:
            position = len(text) - len(text[position:].lstrip())
            fix = "use numbers, + - * / // % **, parentheses, and functions such as sqrt(2)"
            raise invalid(f"unexpected {text[position]!r}", position, fix)
        is_call, kind = kind == "name", str(found.lastgroup)
        tokens.append(_Token(kind, found[kind], found.start(kind)))
        if found[kind] == "(":
            calls.append(is_call)
        elif found[kind] == ")" and calls:
            calls.pop()
        position = found.end()
    return tokens


class _Parser:
    """Precedence climbing."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def expression(self, least: int, depth: int) -> Node:
        """An expression whose operators bind at least as tightly as `least`."""
        if depth > MAX_DEPTH:
            raise invalid("nested too deep", self._token.position, "calculate parts on their own")
        left = self._operand(depth)
        while True:
            symbol = _SPELLINGS.get(self._token.text, self._token.text)
            binding = _BINDING.get(symbol, -1)
            if binding < least:
                return left
            self._next += 1
            # A power's right side may be signed and holds further powers.
            right = self.expression(binding if symbol == "**" else binding + 1, depth + 1)
            left = Operation(symbol, left, right)

    def expect(self, kind: str, text: str) -> None:
        """Go past a token of this kind and text."""
        token = self._token
        if token.kind != kind or token.text != text:
            wanted = f"{text!r}" if text else "the end or an operator"
            raise invalid(f"expected {wanted}, found {_named(token)}", token.position, _fix(token))
        self._next += 1

    @property
    def _token(self) -> _Token:
        return self._tokens[min(self._next, len(self._tokens) - 1)]

    def _operand(self, depth: int) -> Node:
        token = self._token
        self._next += 1
        symbol = _SPELLINGS.get(token.text, token.text)
        if token.kind == "number":
            return Number(_number(token))
        if token.kind == "name":
            return self._named(token, depth)
        if symbol in {"+", "-"}:
            return Sign(symbol, self.expression(_SIGN, depth + 1))
        if symbol == "(":
            inner = self.expression(0, depth + 1)
            self.expect("symbol", ")")
            return inner
        raise invalid(f"expected a value, found {_named(token)}", token.position, _fix(token))

    def _named(self, token: _Token, depth: int) -> Node:
        name = token.text.lower()
        if self._token.text != "(":
            return Name(name, token.position)
        self._next += 1
        arguments = [self.expression(0, depth + 1)]
        while self._token.text == ",":
            self._next += 1
            arguments.append(self.expression(0, depth + 1))
        self.expect("symbol", ")")
        return Call(name, arguments, token.position)


def _number(token: _Token) -> int | float:
    text = token.text.replace(",", "")
    try:
        return int(text) if text.replace("_", "").isdecimal() else float(text)
    except ValueError:
        fix = "write numbers as 1234.5"
        raise invalid(f"{token.text!r} is not a number", token.position, fix) from None


def _named(token: _Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text)


def _fix(token: _Token) -> str:
    if token.kind == "end":
        return "complete the expression"
    if token.text == ",":
        return "write numbers as 1234.5, with a point and no spaces"
    if token.kind in {"number", "name"} or token.text == "(":
        return "put an operator such as * between the values"
    return f"remove {token.text!r}, or put a value before it"
