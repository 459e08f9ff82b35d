"""The JSON-RPC ids of what clients before 2026-07-28 are asked.

An id says what was asked, to any replica. It is sealed, and good for the session that was asked
alone; whether somebody still wants to know, its task says.
"""

from hashlib import sha256
from typing import Final

from gateway.mcp.sessions import Session
from services.chassis.errors import Violation, invalid
from services.chassis.sealing import Broken, Seal

_MARK_CHARACTERS: Final = 32


def mark_of(key: str) -> str:
    """What stands for a question's key: names that tools give may be long."""
    return sha256(key.encode()).hexdigest()[:_MARK_CHARACTERS]


class Ids:
    """Ids of questions as JSON-RPC has them."""

    def __init__(self, key: bytes) -> None:
        self._seal = Seal(key)

    def sealed(self, session: Session, task_id: str, key: str) -> str:
        """The id of a question that a task asks under this key."""
        return self._seal.close(f"{task_id} {mark_of(key)}", _bound(session))

    def opened(self, session: Session, sealed: object) -> tuple[str, str]:
        """The task, and the mark of the key.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; this session was never asked that.
        """
        try:
            text = self._seal.open(sealed if isinstance(sealed, str) else "", _bound(session))
        except Broken:
            fix = "answer with the id that the request had, in the session that it was sent to"
            raise invalid(Violation("id", "is none of a request to this session", fix)) from None
        task_id, _, mark = text.partition(" ")
        return task_id, mark


def _bound(session: Session) -> dict[str, str]:
    return {"for": "mcp question", "session": session.mark}
