"""Figures as one table."""

from collections.abc import Sequence
from typing import Final

from benchmarks.figure import Figure

HEAD: Final = ("row", "figure", "median (min..max)", "bar", "met", "CPU by process", "errors")
SHORT: Final = {
    "gateway": "edge",
    "orchestrator": "orch",
    "inference": "inf",
    "tool_registry": "tools",
}


def rendered(figures: Sequence[Figure]) -> str:
    """The table, with notes below it."""
    rows = [HEAD, *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    notes = dict.fromkeys(f"{each.row}: {each.note}" for each in figures if each.note)
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _cells(figure: Figure) -> tuple[str, ...]:
    values = f"{_number(figure.value)} {figure.unit}".strip()
    if len(figure.values) > 1:
        values += f" ({_number(min(figure.values))}..{_number(max(figure.values))})"
    met = {None: "", True: "yes", False: "NO"}[figure.is_met]
    errors = ", ".join(f"{count} of {what[:60]}" for what, count in figure.errors.items())
    bar = "" if figure.bar is None else str(figure.bar)
    return (figure.row, figure.name, values, bar, met, _cpu(figure), errors or "0")


def _cpu(figure: Figure) -> str:
    if not figure.cpu:
        return ""
    shown = {SHORT.get(name, name): value for name, value in figure.cpu.items()}
    each = " + ".join(
        f"{name} {_number(value)}"
        for name, value in shown.items()
        if value >= 0.02 * sum(shown.values())
    )
    return f"{each} {figure.cpu_unit}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.4f}"
