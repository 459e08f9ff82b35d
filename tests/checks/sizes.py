"""Refuses long files, long functions, and a lock file that names where packages come from."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ["services", "gateway", "protos", "ops", "tests", "benchmarks"]
GENERATED = [ROOT / "protos/gen", ROOT / "gateway/pb"]
FILE_LINES = 500
FUNCTION_LINES = 50


def sources() -> Iterator[Path]:
    """Every Python file that a person wrote."""
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(path.is_relative_to(tree) for tree in GENERATED):
                yield path


def too_long(path: Path) -> Iterator[str]:
    """What in the file is over its limit."""
    name = path.relative_to(ROOT)
    text = path.read_text(encoding="utf-8")
    if (lines := text.count("\n")) > FILE_LINES:
        yield f"{name}: {lines} lines, at most {FILE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                place = f"{name}:{node.lineno}"
                yield f"{place}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"


def hosts(lock: Path) -> Iterator[str]:
    """Lines that bind the lock file to one index or host."""
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), start=1):
        if "://" in line or line.lstrip().startswith("-"):
            yield f"{lock.name}:{number}: names a host or an option: {line}"


def main() -> None:
    """Raise `SystemExit` with every fault, if there are any."""
    faults = [fault for path in sources() for fault in too_long(path)]
    faults += hosts(ROOT / "requirements.lock")
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
