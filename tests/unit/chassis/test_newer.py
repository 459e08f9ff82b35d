"""Events that a newer version wrote, to whoever decodes them."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from services.chassis.errors import Unavailable
from services.chassis.eventlog.port import StoredEvent
from services.inference.adapters import batchcodec
from services.orchestrator.adapters import codec as tasks
from services.orchestrator.adapters import sessionstore
from services.tool_registry.adapters import toolcodec
from services.workflow.adapters import codec as workflows

DECODERS: dict[str, Callable[[StoredEvent], object]] = {
    "task": lambda event: tasks.decode(event, "default"),
    "session": sessionstore.decode,
    "tool": toolcodec.decode,
    "batch": batchcodec.event_of,
    "workflow": workflows.decoded,
}


def event(type_: str) -> StoredEvent:
    return StoredEvent("default", "stream", 1, 1, type_, datetime(2026, 1, 1, tzinfo=UTC), b"")


@pytest.mark.parametrize("kind", DECODERS)
def test_a_type_of_a_newer_version_is_for_that_one(kind: str) -> None:
    with pytest.raises(Unavailable) as caught:
        DECODERS[kind](event(f"{kind}.rested.v1"))

    assert caught.value.reason == "WRITTEN_BY_NEWER_VERSION"
    assert "update" in caught.value.metadata["suggested_fix"]
    assert caught.value.retry_after is not None


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("type_", ["", "rested", "x.rested.v0", "x.Rested.v1\n", "x.rested.v1 "])
def test_what_no_version_calls_an_event_is_no_event(kind: str, type_: str) -> None:
    with pytest.raises((KeyError, ValueError, workflows.Unreadable)):
        DECODERS[kind](event(type_))
