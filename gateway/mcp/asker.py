"""Asks clients before 2026-07-28, in the stream that answers their call, what its task asks for."""

from collections.abc import Mapping
from typing import Any, Final

from mcp_types.methods import parse_server_request
from pydantic import ValidationError

from gateway.mcp import client
from gateway.mcp.client import Context
from gateway.mcp.ids import Ids, mark_of
from gateway.mcp.patience import patiently
from gateway.mcp.questions import outstanding
from gateway.mcp.rpc import Caller, Reply, Rpc, Services
from gateway.mcp.sessions import Session
from services.chassis.asking import CAPABILITIES

Wire = dict[str, Any]

_ASKING: Final = frozenset({"approval_required", "input_required"})
_SECONDS: Final = 10.0


class Unaskable(Exception):
    """A client cannot be asked this."""


class Askers:
    """Makes them."""

    def __init__(self, services: Services, ids: Ids) -> None:
        self._task = services["OrchestratorService/GetTask"]
        self._ids = ids

    def of(self, ctx: Context, caller: Caller) -> "Asker":
        """The one of a request."""
        return Asker(self._task, self._ids, ctx, caller)


class Asker:
    """Asks the client of one request what the task behind it asks for, each thing once. It asks
    nobody who is in no session."""

    def __init__(self, task: Rpc, ids: Ids, ctx: Context, caller: Caller) -> None:
        self._task = task
        self._ids = ids
        self._stream, self._session = client.stream_of(ctx), client.session_of(ctx)
        self._caller = caller
        self._asked: set[str] = set()

    async def hear(self, event: Reply) -> None:
        """Ask what is new, if this event of a task says that there is something.

        Raises:
            Unaskable: the client cannot be asked some of it.
        """
        session = self._session
        if session is None or self._stream is None or event.get("type") not in _ASKING:
            return
        task_id = event["task_id"]
        request = {"task_id": task_id}
        task = await patiently(lambda: self._task(self._caller, request, seconds=_SECONDS))
        wanted = {key: each for one in outstanding(task) for key, each in one.wire.items()}
        faults = []
        for key in sorted(wanted.keys() - self._asked):
            self._asked.add(key)
            message = _message(self._ids.sealed(session, task_id, key), wanted[key], key)
            if fault := _fault(session, message):
                faults.append(fault)
            else:
                await self._stream.say(message)
        if faults:
            raise Unaskable(faults[0])


def _fault(session: Session, message: Wire) -> str:
    """Why a client is not asked this: it could not understand it, or has not said that it can do
    that."""
    method, params, version = message["method"], message.get("params", {}), session.version
    can = session.capabilities.get(CAPABILITIES.get(method, ""))
    if can is None or not _knows(can, str(params.get("mode", ""))):
        return f"the client does not declare what {method[:64]!r} needs for this"
    try:
        parse_server_request(method, version, params)
    except (KeyError, ValidationError):
        return f"{version} has no words for what is asked by {method[:64]!r}"
    return ""


def _knows(elicitation: Mapping[str, Any], mode: str) -> bool:
    """Whether a client can be asked in this mode: one that names none knows forms."""
    return not mode or mode in (elicitation or {"form": {}})


def _message(sealed: str, request: Mapping[str, Any], key: str) -> Wire:
    params = dict(request.get("params") or {})
    if params.get("mode") == "url":  # Before 2026-07-28 these have a name of their own, too.
        params.setdefault("elicitationId", mark_of(key))
    message = {"jsonrpc": "2.0", "id": sealed, "method": str(request.get("method"))}
    return {**message, "params": params} if params else message
