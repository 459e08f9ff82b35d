"""`python -m benchmarks`: starts suites, loads them, prints one table, writes one JSON file."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figure import Figure, judged
from benchmarks.load.job import JSON
from benchmarks.machine import described
from benchmarks.rows import ROWS
from benchmarks.table import rendered

OUT: Final = Path(__file__).parent / "out" / "bench.json"


def main(arguments: Sequence[str]) -> int:
    """Measure the rows that were asked for; 1 if one of them could not be."""
    options = _parser().parse_args(arguments)
    began = monotonic()

    def say(text: str) -> None:
        print(f"{monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    machine = described()
    bench = Bench(is_quick=options.quick, say=say)
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    try:
        for name in options.rows:
            say(f"row {name}")
            try:
                figures += ROWS[name][0](bench)
            except (RuntimeError, ArithmeticError) as error:
                failed[name] = str(error)
                say(f"row {name} failed: {error}")
    finally:
        bench.close()
    figures = judged(figures)
    _write(options.json, machine, figures, failed)
    print(_head(machine), rendered(figures), sep="\n\n")
    print(f"\nin {monotonic() - began:.0f} s; everything measured is in {options.json}")
    missed = [f"{each.row} {each.name}" for each in figures if each.is_met is False]
    for line in (*(f"MISSED: {each}" for each in missed), *(f"FAILED: {each}" for each in failed)):
        print(line)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, ROWS))
    rows = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures real suites on this machine: one table, one JSON file.",
        epilog=f"rows:\n{rows}\n\nmake bench ARGS='--rows invoke-32,stream-32 --quick'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", type=_rows, default=list(ROWS), metavar="NAME,…", help="only these (default: all)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short run of each; shows that it works, no more"
    )
    parser.add_argument(
        "--json", type=Path, default=OUT, metavar="FILE", help="default: %(default)s"
    )
    return parser


def _rows(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    return names


def _write(
    path: Path, machine: Mapping[str, JSON], figures: Sequence[Figure], failed: dict[str, str]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine,
        "failed": failed,
        "figures": [figure.document() for figure in figures],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _head(machine: Mapping[str, JSON]) -> str:
    changes = " with changes" if machine["has_changes"] else ""
    return (
        f"{machine['date']}, commit {machine['commit']}{changes}, {machine['cpus']} x "
        f"{machine['cpu']}, Python {machine['python']}, {machine['system']}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
