"""`--upstream …`: the server elsewhere that a suite's models run on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec

import click

P = ParamSpec("P")

ENGINE: Final = "openai"
_OPTIONS: Final = (
    click.option(
        "--upstream",
        metavar="URL",
        help="With --engine openai: an OpenAI-compatible server, such as http://127.0.0.1:8000/v1.",
    ),
    click.option("--upstream-model", metavar="NAME", help="What the model is called there."),
    click.option(
        "--upstream-key-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A file with the server's API key. It is read for each request.",
    ),
    click.option(
        "--upstream-dialect",
        type=click.Choice(["openai", "vllm", "llamacpp"]),
        default="openai",
        show_default=True,
        help="What kind of server it is: the others can do more than OpenAI's API says.",
    ),
)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server elsewhere, and a model of it."""

    url: str
    model: str
    key_file: Path | None
    dialect: str

    @property
    def environment(self) -> dict[str, str]:
        """How the inference service is told of it."""
        told = {
            "INFERENCE_OPENAI__URL": self.url,
            "INFERENCE_OPENAI__MODEL": self.model,
            "INFERENCE_OPENAI__DIALECT": self.dialect,
        }
        if self.key_file is not None:
            told["INFERENCE_OPENAI__API_KEY_FILE"] = str(self.key_file.resolve())
        return told


def upstream_options(command: Callable[P, None]) -> Callable[P, None]:
    """Give a command that has `--engine` these options, as the one argument `upstream`."""

    @wraps(command)
    def whole(*args: P.args, **kwargs: P.kwargs) -> None:
        url, model, key_file, dialect = (
            kwargs.pop(name)
            for name in ("upstream", "upstream_model", "upstream_key_file", "upstream_dialect")
        )
        chosen = _checked(str(kwargs["engine"]), url, model, key_file)
        kwargs["upstream"] = Upstream(*chosen, str(dialect)) if chosen else None
        command(*args, **kwargs)

    for option in reversed(_OPTIONS):
        whole = option(whole)
    return whole


def _checked(
    engine: str, url: object, model: object, key_file: object
) -> tuple[str, str, Path | None] | None:
    """The options of an upstream, if the engine has one."""
    given = {"--upstream": url, "--upstream-model": model, "--upstream-key-file": key_file}
    if engine != ENGINE:
        for name in (name for name, value in given.items() if value):
            raise click.UsageError(f"{name} is for --engine {ENGINE}")
        return None
    for name in ("--upstream", "--upstream-model"):
        if not given[name]:
            raise click.UsageError(f"--engine {ENGINE} needs {name}")
    file = key_file if isinstance(key_file, Path) else None
    if file is not None and not file.is_file():
        raise click.ClickException(f"there is no key file {file}")
    return str(url), str(model), file
