"""Streams of events as they come over HTTP."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx2

Event = dict[str, Any]


class Sse:
    """One server-sent event: its three lines and what its data says."""

    def __init__(self, lines: list[str]) -> None:
        fields = dict(line.split(": ", 1) for line in lines)
        self.event, self.id, self.data = fields["event"], fields.get("id", ""), fields["data"]
        self.said: Event = json.loads(self.data)


def read(lines: Iterable[str]) -> Iterator[Sse]:
    """Events, as their lines arrive; comments are passed over."""
    gathered: list[str] = []
    for line in lines:
        if line and not line.startswith(":"):
            gathered.append(line)
        elif gathered:
            yield Sse(gathered)
            gathered = []


def asked(http: httpx2.Client, query: str, **fields: object) -> list[Sse]:
    """All events of a new task."""
    with http.stream("POST", "/v1/agent/stream", json={"query": query, **fields}) as reply:
        assert reply.status_code == 200, reply.read()
        return list(read(reply.iter_lines()))


def watched(http: httpx2.Client, path: str, **headers: str) -> list[Sse]:
    """All events of a task that is there already."""
    with http.stream("GET", path, headers=headers) as reply:
        assert reply.status_code == 200, reply.read()
        return list(read(reply.iter_lines()))


async def data_of(reply: httpx2.Response) -> AsyncIterator[Event]:
    """What each event of a stream says."""
    async for line in reply.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def answer_of(events: Iterable[Event]) -> str:
    """What the last attempt said, put together from its deltas."""
    text = ""
    for event in events:
        if event["type"] == "step_abandoned":
            text = ""
        text += event.get("text", "") if event["type"] == "message_delta" else ""
    return text


def is_contiguous(events: Iterable[Event]) -> bool:
    """Whether sequences count from 1 without gaps."""
    return all(event["sequence"] == n for n, event in enumerate(events, start=1))
