"""What commands that talk to a running suite share: where it is, and how it says no."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from services.cli.plain import plain
from services.cli.state import DEFAULT, StateFolder

REFUSED: Final = 1
NOT_CONNECTED: Final = 3
NEAREST: Final = "http://127.0.0.1:8080"
PATIENCE_SECONDS: Final = 3_610.0
"""For an answer: a tool may take an hour."""

NO_EDGE: Final = "the answer is not JSON: is that the address of an edge?"

Json = Mapping[str, Any]


def _address(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    url = value if "://" in value else f"http://{value}"
    if not url.startswith(("http://", "https://")) or not url.partition("://")[2].strip("/"):
        raise click.BadParameter(f"{value} is not a URL such as {NEAREST}")
    return url.rstrip("/")


_URL: Final = click.option(
    "--url",
    envvar="RUNPLANE_URL",
    show_envvar=True,
    callback=_address,
    help="The edge. Default: the suite of --state.",
)
_STATE: Final = click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="The folder of the suite to ask, as `runplane up --state` has it. "
    f"Default: {DEFAULT}, else {NEAREST}.",
)


def at_edge(command: Callable[..., None]) -> Callable[..., None]:
    """A command's options that say which suite it asks, `url` and `state`."""
    return _URL(_STATE(command))


def found(url: str | None, state: Path | None) -> str:
    """Where the edge is that a command asks.

    Where none runs with the folder that was named, the command ends.
    """
    if url is not None:
        return url
    running = StateFolder(state or Path(DEFAULT)).url()
    if running is None and state is not None:
        said = f"no suite runs with {state}; start one with: runplane up --state {state}"
        click.echo(said, err=True)
        raise SystemExit(NOT_CONNECTED)
    return running or NEAREST


def answered(
    url: str, method: str, path: str, *, query: Json | None = None, body: Json | None = None
) -> Json:
    """What the edge answers. A refusal ends the command."""
    import httpx2  # noqa: PLC0415 - takes 0.1 s, which `runplane up` need not pay

    limits = httpx2.Timeout(10, read=PATIENCE_SECONDS)
    try:
        reply = httpx2.request(
            method, f"{url}{path}", params=query or None, json=body, timeout=limits
        )
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        unreachable(url, error)
    said = read(reply.content)
    if reply.status_code != 200:
        refused(said)
    return said


def read(content: bytes) -> Json:
    """An answer's JSON object."""
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"message": NO_EDGE}


def refused(error: Json) -> NoReturn:
    """Say why the edge would not, and what to do; the command ends."""
    click.echo(f"refused: {reason(error)}", err=True)
    raise SystemExit(REFUSED)


def reason(error: Json) -> str:
    """What an error says, and what to do."""
    fix = error.get("suggested_fix")
    return plain(f"{error.get('message')}" + (f" ({fix})" if fix else ""))


def unreachable(url: str, error: Exception) -> NoReturn:
    """Nothing answers there; the command ends."""
    way = "start one with: runplane up, or name the one that runs by --state or --url"
    click.echo(f"no suite answers at {url} ({error}); {way}", err=True)
    raise SystemExit(NOT_CONNECTED)
