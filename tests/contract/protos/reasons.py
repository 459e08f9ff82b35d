"""The reasons that the code gives for errors, read off its syntax.

`python -m tests.contract.protos.reasons` adds new ones to `reasons.txt`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grpc

from services.chassis.errors import ServiceError

ROOT = Path(__file__).parents[3]
LISTED = Path(__file__).with_name("reasons.txt")
GENERATED = ROOT / "gateway" / "pb"
KINDS = {kind.__name__ for kind in ServiceError.__subclasses__()}
CODES = {code.name for code in grpc.StatusCode}
VARIABLE = re.compile("(RUNPLANE|GATEWAY|INFERENCE|ORCHESTRATOR|TOOL_REGISTRY)_")
NAME = re.compile(r"[A-Z][A-Z0-9_]+[A-Z0-9]")
LIKELY = re.compile(r"[A-Z][A-Z0-9]+(_[A-Z0-9]+)+")


def listed() -> list[str]:
    """The reasons of `reasons.txt`, in its order."""
    lines = LISTED.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def given() -> dict[str, str]:
    """Each reason in the code, and a file that gives it."""
    files = [path for top in ("services", "gateway") for path in (ROOT / top).rglob("*.py")]
    return {
        reason: str(path.relative_to(ROOT))
        for path in sorted(files)
        if GENERATED not in path.parents
        for reason in _reasons(ast.parse(path.read_text()))
    }


def _reasons(tree: ast.Module) -> Iterator[str]:
    """First arguments of the kinds, and whatever else looks like a reason, as in tables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node) in KINDS and node.args:
            yield from _texts(node.args[0])
        elif isinstance(node, ast.keyword) and node.arg == "reason":
            yield from _texts(node.value)
        elif isinstance(node, ast.Constant):
            yield from filter(_is_likely, _texts(node))


def _is_likely(text: str) -> bool:
    """Whether it looks like a reason, and not like a code's name or a variable's."""
    return bool(LIKELY.fullmatch(text)) and text not in CODES and not VARIABLE.match(text)


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _texts(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
        yield value.value


if __name__ == "__main__":
    new = sorted(given().keys() - set(listed()))
    with LISTED.open("a") as file:
        file.writelines(f"{reason}\n" for reason in new)
