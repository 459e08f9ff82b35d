"""`runplane classify` and `runplane embed`: what a suite's models make of texts."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from services.cli.edge import answered, at_edge, found
from services.cli.plain import plain

_MODEL = click.option("--model", help="Default: the first one that can.")


@click.command(
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no connection.",
    short_help="Say how likely each label is for a text.",
)
@click.argument("text")
@click.option("--label", "labels", multiple=True, required=True, help="One of them; repeat it.")
@click.option("--instructions", help="What to go by, in words.")
@_MODEL
@click.option("--json", "is_json", is_flag=True, help="Print the whole answer as JSON.")
@at_edge
def classify(text: str, labels: tuple[str, ...], **options: Any) -> None:
    """Say how likely each label is for TEXT (- for standard input), the likeliest first.

    \b
    runplane classify "I love it." --label good --label bad
    """
    body = {"input": _given(text), "labels": labels}
    said = answered(
        found(options["url"], options["state"]),
        "POST",
        "/v1/inference/classify",
        body=body | {name: options[name] for name in ("instructions", "model") if options[name]},
    )
    if options["is_json"]:
        click.echo(json.dumps(said, ensure_ascii=False))
        return
    for each in said.get("results") or ():
        click.echo(plain(f"{each['score']:.4f}  {each['label']}"))


@click.command(
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no connection.",
    short_help="Print a vector for each text.",
)
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@_MODEL
@at_edge
def embed(texts: tuple[str, ...], model: str | None, url: str | None, state: Path | None) -> None:
    """Print a vector of length 1 for each TEXT (- for standard input), a JSON list a line."""
    body: dict[str, object] = {"inputs": [_given(text) for text in texts]}
    if model:
        body["model"] = model
    said = answered(found(url, state), "POST", "/v1/inference/embed", body=body)
    for each in said.get("embeddings") or ():
        click.echo(json.dumps(each["values"]))


def _given(text: str) -> str:
    return sys.stdin.read() if text == "-" else text
