"""What clients before 2026-07-28 answer: each answer is a request of its own, at any replica."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from mcp_types import JSONRPCError, JSONRPCResponse, jsonrpc_message_adapter
from mcp_types.methods import validate_client_result
from pydantic import ValidationError

from gateway.mcp.ids import Ids, mark_of
from gateway.mcp.patience import patiently
from gateway.mcp.questions import Question, outstanding
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller
from gateway.mcp.sessions import Session
from gateway.mcp.tasks import Tasks
from gateway.shapes import JSON
from services.chassis.asking import METHODS
from services.chassis.errors import Violation, invalid

Wire = dict[str, Any]

_SHOWN: Final = 200
# What was asked has been answered, or nobody wants to know any more.
_LATE: Final = frozenset(
    {"INPUT_NOT_REQUIRED", "APPROVAL_NOT_PENDING", "TASK_ALREADY_ENDED", "TASK_NOT_FOUND"}
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One thing that was asked."""

    question: Question
    key: str
    method: str


class Answers:
    """Brings answers to the tasks that asked."""

    def __init__(self, tasks: Tasks, ids: Ids) -> None:
        self._tasks = tasks
        self._ids = ids

    async def take(self, caller: Caller, session: Session, message: Mapping[str, Any]) -> None:
        """Bring an answer. One that nobody waits for any more is passed over.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; it is no answer to what this session was asked.
            Refused: a service refused it.
        """
        answer = _parsed(message)
        task_id, mark = self._ids.opened(session, answer.id)
        if (asked := await self._asked(caller, task_id, mark)) is None:
            return
        if isinstance(answer, JSONRPCResponse):
            await self._give(caller, session, asked, answer.result)
        elif asked.method == METHODS["elicitation"]:
            await self._pass_on(caller, asked, {"action": "cancel"})
        else:  # The tool has no use for anything but an answer.
            said = answer.error.message[:_SHOWN]
            why = f"its client does not answer {asked.method}: {said}"
            await patiently(lambda: self._tasks.end(caller, task_id, why))

    async def _asked(self, caller: Caller, task_id: str, mark: str) -> _Asked | None:
        """What a task asks under a key with this mark; None if it does not (any more)."""
        try:
            task = await patiently(lambda: self._tasks.found(caller, task_id))
        except Refused as refused:
            if refused.reason not in _LATE:
                raise
            return None
        for question in outstanding(task):
            for key, request in question.wire.items():
                if mark_of(key) == mark:
                    return _Asked(question, key, str(request.get("method")))
        return None

    async def _give(self, caller: Caller, session: Session, asked: _Asked, result: Wire) -> None:
        try:
            validate_client_result(asked.method, session.version, result)
        except ValidationError:
            fix = f"send what {asked.method} returns in {session.version}"
            raise invalid(Violation("result", "is none of what was asked", fix)) from None
        await self._pass_on(caller, asked, result)

    async def _pass_on(self, caller: Caller, asked: _Asked, result: Wire) -> None:
        given = asked.question.answered({asked.key: result})
        try:
            await patiently(lambda: self._tasks.answer(caller, asked.question, given))
        except Refused as refused:
            if refused.reason not in _LATE:
                raise


def is_answer(message: JSON) -> TypeGuard[dict[str, JSON]]:
    """Whether a message is one, or says that there will be none."""
    return isinstance(message, dict) and "method" not in message and "id" in message


def _parsed(message: Mapping[str, Any]) -> JSONRPCResponse | JSONRPCError:
    try:
        found = jsonrpc_message_adapter.validate_python(message, by_name=False)
    except ValidationError:
        found = None
    if isinstance(found, JSONRPCResponse | JSONRPCError):
        return found
    fix = "send jsonrpc, the id of the request, and a result or an error"
    raise invalid(Violation("body", "is no JSON-RPC response", fix))
