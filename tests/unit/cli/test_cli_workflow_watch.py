"""Watching a workflow over connections that break."""

from collections.abc import Iterator

import pytest

from services.cli import workflow_watch as watch

EVENT = {"type": "workflow_ended", "sequence": 2, "status": "completed"}


class Edge:
    """Connections that each hold so long, in seconds, and then break; the last one has an end."""

    def __init__(self, *held: float) -> None:
        self.now = 0.0
        self._held = list(held)

    def stream(
        self, edge: str, workflow_id: str, after: int, *, is_known: bool
    ) -> Iterator[object]:
        if not self._held:
            yield EVENT
            return
        self.now += self._held.pop(0)
        raise watch._Broken("it is away", passes=False)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def watched(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> list[watch.Event]:
    monkeypatch.setattr(watch, "_stream", edge.stream)
    monkeypatch.setattr(watch, "monotonic", lambda: edge.now)
    monkeypatch.setattr(watch, "sleep", edge.sleep)
    return list(watch.watched("http://edge", "wf_1", 0))


def test_a_break_after_minutes_of_silence_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    events = watched(Edge(240, 0, 240, 0), monkeypatch)

    assert events == [EVENT]


def test_an_edge_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(240, *[0.0] * 100)

    with pytest.raises(SystemExit):
        watched(edge, monkeypatch)
    assert 270 < edge.now < 272
