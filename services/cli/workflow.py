"""`runplane workflow`: definitions of workflows, from the terminal."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO, Any, Final

import click

from services.chassis.documents.problem import Problem
from services.cli.plain import plain
from services.cli.workflow_problems import MOST, found_in, named
from services.cli.workflow_runs import COMMANDS
from services.workflow.domain.language import Outcome, outcome

INVALID: Final = 1


@click.group(
    short_help="Check definitions, and run workflows.",
    epilog="Exit codes: 0 done, 1 refused, not valid or not consistent, 2 wrong usage, "
    "3 no connection.",
)
def workflow() -> None:
    """Check definitions, and start, move and watch workflows of a running suite.

    \b
    runplane workflow validate examples/workflows/document_processing.yaml
    runplane workflow define examples/workflows/document_processing.yaml
    runplane workflow start document_processing '{"doc_id": "doc_123"}'
    runplane workflow signal WORKFLOW review
    runplane workflow approve WORKFLOW --comment 'well written'
    runplane workflow watch WORKFLOW
    """


@workflow.command(epilog="Exit codes: 0 valid (there may be warnings), 1 not valid, 2 wrong usage.")
@click.argument("files", metavar="FILE...", type=click.File("rb"), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print what is found as JSON.")
def validate(files: Sequence[IO[bytes]], as_json: bool) -> None:
    """Check definitions in FILEs. They are YAML or JSON (- reads standard input); no suite has to
    run. All that is wrong is said at once, as FILE:LINE:COLUMN: PROBLEM (FIX)."""
    found = [(named(file), outcome(file.read(MOST))) for file in files]
    if as_json:
        report = [_report(name, each) for name, each in found]
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for name, each in found:
            for line in found_in(name, each):
                click.echo(plain(line))
    if any(each.errors for _, each in found):
        sys.exit(INVALID)


for _each in COMMANDS:
    workflow.add_command(_each)


def _report(name: str, found: Outcome) -> dict[str, Any]:
    return {
        "file": name,
        "valid": not found.errors,
        "name": found.definition.name if found.definition else None,
        "problems": [_problem(each) for each in found.problems],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    fields = asdict(problem)
    is_warning = fields.pop("is_warning")
    return {"severity": "warning" if is_warning else "error", **fields}
