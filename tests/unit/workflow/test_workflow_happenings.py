"""Events from outside, and the workflows that they are for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.eventlog.port import Condition
from services.workflow.ports import WorkflowLog
from services.workflow.usecases.happenings import MOST, Happening, HappeningLog, Happenings
from services.workflow.usecases.workflows import Caller, Workflows

SIGNED = Happening("evt_1", "signed", {}, "order_7")


@dataclass
class Many:
    """So many workflows of one correlation id, and who was told."""

    count: int
    refuses: Callable[[str], bool] = lambda workflow_id: False
    told: list[str] = field(default_factory=list)

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `WorkflowLog`."""
        first = int(after or 0) + 1
        last = min(self.count, first + limit - 1)
        return [(str(number), b"") for number in range(first, last + 1)]

    async def signal(self, caller: Caller, workflow_id: str, *signal: Any) -> None:
        """See `Workflows`."""
        if self.refuses(workflow_id):
            raise FailedPrecondition("TRANSITION_NOT_ALLOWED", "it leads nowhere")
        self.told.append(workflow_id)

    async def arrived(self) -> None:
        """The event comes in."""
        kept = cast("HappeningLog", None)
        logs, workflows = cast("WorkflowLog", self), cast("Workflows", self)
        await Happenings(kept, workflows, logs, str).arrived("default", SIGNED, "")


async def test_all_that_an_event_is_for_are_told_once_each() -> None:
    many = Many(MOST)
    await many.arrived()

    assert len(set(many.told)) == len(many.told) == MOST


async def test_an_event_for_more_than_there_can_be_is_refused_before_any_is_told() -> None:
    many = Many(MOST + 1)

    with pytest.raises(FailedPrecondition) as caught:
        await many.arrived()

    assert caught.value.reason == "EVENT_FOR_TOO_MANY"
    assert many.told == []


async def test_one_that_refuses_an_event_does_not_keep_it_from_the_others() -> None:
    many = Many(3, refuses=lambda workflow_id: workflow_id == "2")
    await many.arrived()

    assert many.told == ["1", "3"]


async def test_an_event_that_all_refuse_is_refused() -> None:
    many = Many(2, refuses=lambda workflow_id: True)

    with pytest.raises(FailedPrecondition) as caught:
        await many.arrived()

    assert caught.value.reason == "TRANSITION_NOT_ALLOWED"


async def test_an_event_for_nobody_is_refused() -> None:
    with pytest.raises(NotFound) as caught:
        await Many(0).arrived()

    assert caught.value.reason == "EVENT_FOR_NOBODY"
