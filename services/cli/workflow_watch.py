"""Events of a running suite, such as those of a workflow, over as many connections as it takes."""

import json
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any, Final
from urllib.parse import quote

import click

from services.cli import workflow_lines as lines
from services.cli.edge import NOT_CONNECTED, read, reason, refused, unreachable
from services.cli.plain import plain

END: Final = "workflow_ended"
STUCK: Final = "compensation_failed"
FAILED: Final = 1
INTERRUPTED: Final = 130
PAUSE_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 30.0
"""How long an edge that was there may be away."""
UNAVAILABLE: Final = 503
DEADLINE: Final = 504
"""How long a stream may be is over; not so the workflow."""

Event = dict[str, Any]


def ended(edge: str, workflow_id: str, *, after: int = 0, as_json: bool) -> int:
    """Show the events until the workflow ends; the exit code that this makes."""
    status = ""
    try:
        for event in watched(edge, workflow_id, after):
            status = str(event.get("status")) if event.get("type") == END else ""
            text = json.dumps(event, ensure_ascii=False) if as_json else plain(lines.event(event))
            click.echo(text)
            if event.get("type") == STUCK:
                way = f"runplane workflow compensate {workflow_id}"
                click.echo(f"when that is mended: {way}; Ctrl-C stops watching", err=True)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    return 0 if status in {"completed", ""} else FAILED


def watched(edge: str, workflow_id: str, after: int) -> Iterator[Event]:
    """The events of a workflow after a sequence, as `followed`."""
    return followed(edge, f"/v1/workflows/{quote(workflow_id, safe='')}:watch", after)


def followed(edge: str, path: str, after: int) -> Iterator[Event]:
    """The events after a sequence. A stream that breaks off is taken up where it did."""
    met = False
    away: float | None = None  # Since when; one that held longer than that was there.
    while True:
        began = monotonic()
        try:
            for event in _stream(edge, path, after, is_known=met):
                met, after = True, int(event["sequence"])
                away = None
                yield event
        except _Broken as broken:
            now = monotonic()
            away = now if away is None or now - began > PATIENCE_SECONDS else away
            if not broken.passes and now - away > PATIENCE_SECONDS:
                click.echo(f"the stream broke off: {plain(str(broken))}", err=True)
                raise SystemExit(NOT_CONNECTED) from None
            met = True
            sleep(PAUSE_SECONDS)
        else:
            return


class _Broken(Exception):
    """A stream ended before the workflow did."""

    def __init__(self, why: str, *, passes: bool) -> None:
        super().__init__(why)
        self.passes = passes
        """Whether that is how streams end."""


def _stream(edge: str, path: str, after: int, *, is_known: bool) -> Iterator[Event]:
    import httpx2  # noqa: PLC0415 - takes 0.1 s, which `runplane up` need not pay

    limits = httpx2.Timeout(10, read=None)
    query = {"after_sequence": after}
    try:
        with httpx2.stream("GET", f"{edge}{path}", params=query, timeout=limits) as reply:
            if reply.status_code >= 500 and is_known:
                raise _Broken(reason(read(reply.read())), passes=False)
            if reply.status_code != 200:
                refused(read(reply.read()))
            is_known = True
            for line in reply.iter_lines():
                if line.startswith("data:"):
                    yield _event(line[5:])
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        if is_known:
            raise _Broken(str(error), passes=False) from None
        unreachable(edge, error)


def _event(text: str) -> Event:
    """One event; an error that ends the stream is no event."""
    said: Event = json.loads(text)
    if said.get("status") == "error" and "error_code" in said:
        if said.get("code") not in {UNAVAILABLE, DEADLINE}:
            refused(said)
        raise _Broken(str(said.get("message")), passes=said.get("code") == DEADLINE)
    return said
