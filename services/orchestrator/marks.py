"""Marks that let a caller wait once more for a task: sealed, the caller's own, and not for ever."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from services.chassis.errors import FailedPrecondition, InvalidArgument
from services.chassis.sealing import Broken, Seal

LAST: Final = timedelta(hours=24)  # As long as a task may wait to be continued.


@dataclass(frozen=True, slots=True)
class Marks:
    """Makes marks and reads them."""

    seal: Seal
    now: Callable[[], datetime]

    def made(self, task_id: str, *, tenant: str, owner: str) -> str:
        """A mark for a task, good for its owner alone."""
        until = (self.now() + LAST).timestamp()
        return self.seal.close(f"{until:.0f} {task_id}", _bound(tenant, owner))

    def read(self, mark: str, *, tenant: str, owner: str) -> str:
        """The task's id.

        Raises:
            InvalidArgument: `CONTINUE_MARK_INVALID`; it is none, or somebody else's.
            FailedPrecondition: `CONTINUE_MARK_EXPIRED`.
        """
        try:
            until, _, task_id = self.seal.open(mark, _bound(tenant, owner)).partition(" ")
        except Broken:
            raise InvalidArgument(
                "CONTINUE_MARK_INVALID",
                "continue_mark is not one that this caller was given",
                field="continue_mark",
                suggested_fix="send continue_mark as the partial answer brought it",
            ) from None
        if self.now() >= datetime.fromtimestamp(float(until), UTC):
            raise FailedPrecondition(
                "CONTINUE_MARK_EXPIRED",
                f"continue_mark is no longer good; {task_id} does not depend on it",
                task_id=task_id,
                field="continue_mark",
                suggested_fix=f"get or watch {task_id}",
            )
        return task_id


def _bound(tenant: str, owner: str) -> dict[str, str]:
    return {"for": "continue_mark", "tenant": tenant, "owner": owner}
