"""The reasons that the code gives for errors, read off its syntax.

`python -m tests.contract.protos.reasons` adds new ones to `reasons.txt`.
"""

import ast
import re
import subprocess
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import grpc

from services.chassis.errors import ServiceError

ROOT = Path(__file__).parents[3]
LISTED = Path(__file__).with_name("reasons.txt")
BEFORE = ROOT / "tests" / "checks" / "before.sh"
GENERATED = ROOT / "gateway" / "pb"
KINDS = {kind.__name__ for kind in ServiceError.__subclasses__()}
CODES = {code.name for code in grpc.StatusCode}
VARIABLE = re.compile(
    "(RUNPLANE|GATEWAY|INFERENCE|ORCHESTRATOR|TOOL_REGISTRY|GRPC|VLLM|TOOL_KIND|TOOL_STATE|"
    "MODEL_STATE|HF|OTEL)_"
)
"""Names of environment variables and of values in the contracts: they look like reasons."""
NAME = re.compile(r"[A-Z][A-Z0-9_]+[A-Z0-9]")
LIKELY = re.compile(r"[A-Z][A-Z0-9]+(_[A-Z0-9]+)+")


def listed() -> list[str]:
    """The reasons of `reasons.txt`, in its order."""
    return _lines(LISTED.read_text())


def listed_before() -> list[str]:
    """The same in the commit that this work started from; empty where there is none."""
    before = _said("sh", str(BEFORE)).strip()
    path = LISTED.relative_to(ROOT).as_posix()
    return _lines(_said("git", "show", f"{before}:./{path}")) if before else []


def lost(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """What was changed, moved or removed: reasons are only ever added, at the end.

    Environment variables and values were once listed by mistake, and may go.
    """
    reasons = [reason for reason in before if not VARIABLE.match(reason)]
    return [
        reason for reason, still in zip_longest(reasons, now[: len(reasons)]) if reason != still
    ]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _said(*command: str) -> str:
    """What a command prints; nothing if it fails, or if there is no git here."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout


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
    """Whether it looks like a reason, and not like a code's name, a variable's or a value's."""
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
