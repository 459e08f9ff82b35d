"""Options of an upstream: together or not at all."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.cli.suite import Options, planned, programs
from services.cli.upstream import Upstream, upstream_options

URL = "http://127.0.0.1:8000/v1"


@click.command()
@click.option("--engine", default="openai")
@upstream_options
def told(engine: str, upstream: Upstream | None) -> None:
    """Says what it is given."""
    for name, value in (upstream.environment if upstream else {}).items():
        click.echo(f"{name}={value}")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--upstream"),
        (["--upstream", URL], "--upstream-model"),
        (["--upstream-model", "big"], "--upstream"),
        (["--engine", "echo", "--upstream", URL], "--engine openai"),
        (["--engine", "echo", "--upstream-key-file", "x"], "--engine openai"),
        (["--upstream", URL, "--upstream-model", "big", "--upstream-key-file", "/no/file"], "file"),
    ],
)
def test_what_belongs_together_is_asked_for_together(arguments: list[str], word: str) -> None:
    result = CliRunner().invoke(told, arguments)

    assert result.exit_code != 0
    assert word in result.output


def test_an_upstream_is_told_to_inference_alone(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    upstream = Upstream(URL, "big", tmp_path / "key", "vllm")
    options = Options("openai", None, "info", upstream=upstream)

    of = {each.name: each.environment for each in programs(planned("127.0.0.1", 8080), options)}
    told_to = [name for name, known in of.items() if "INFERENCE_OPENAI__URL" in known]
    assert told_to == ["inference"]
    assert of["inference"]["INFERENCE_ENGINE"] == "openai"
    assert of["inference"]["INFERENCE_OPENAI__API_KEY_FILE"] == str(tmp_path / "key")
    assert "secret" not in str(of)


def test_no_upstream_is_told_where_the_engine_has_none() -> None:
    result = CliRunner().invoke(told, ["--engine", "echo"])

    assert (result.exit_code, result.output) == (0, "")
