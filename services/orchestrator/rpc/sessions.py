"""The servicer of sessions: unpack, call, pack."""

from functools import partial
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from runplane.orchestrator.v1 import sessions_pb2 as pb
from runplane.orchestrator.v1 import sessions_pb2_grpc as pb_grpc

from services.chassis import filtering
from services.chassis.paging import Pager
from services.orchestrator.domain.wanted import Wanted
from services.orchestrator.mapping import sessions as mapping
from services.orchestrator.rpc.caller import caller, idempotency_key
from services.orchestrator.usecases.sessions import Sessions


class SessionServicer(pb_grpc.SessionServiceServicer):
    """`Sessions` over gRPC."""

    def __init__(self, sessions: Sessions, pager: Pager, messages: Pager) -> None:
        """A pager for sessions, and one for messages."""
        self._sessions = sessions
        self._pager = pager
        self._messages = messages

    async def CreateSession(
        self, request: pb.CreateSessionRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Session:
        """Begin a session."""
        wanted = mapping.wanted(request, idempotency_key(context))
        return mapping.session(await self._sessions.create(caller(context), wanted))

    async def GetSession(
        self, request: pb.GetSessionRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Session:
        """A session as it stands."""
        return mapping.session(await self._sessions.get(caller(context), request.session_id))

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.ListSessionsResponse:
        """A page of sessions."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token, filter=request.filter)
        where = filtering.condition(request.filter, mapping.FILTERED)
        read = partial(self._sessions.page, caller(context), where)
        shown, token = await self._pager.page(read, after, size, filter=request.filter)
        return pb.ListSessionsResponse(
            sessions=map(pb.Session.FromString, shown), next_page_token=token
        )

    async def UpdateSession(
        self, request: pb.UpdateSessionRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Session:
        """Change a session."""
        wanted = Wanted(request.on_busy, dict(request.labels))
        session = await self._sessions.update(caller(context), request.session_id, wanted)
        return mapping.session(session)

    async def DeleteSession(
        self, request: pb.DeleteSessionRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> Empty:
        """End a session."""
        await self._sessions.delete(caller(context), request.session_id)
        return Empty()

    async def ListMessages(
        self, request: pb.ListMessagesRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.ListMessagesResponse:
        """A page of messages. Its token says where to read on, and which was the last."""
        session_id, size = request.session_id, self._messages.size(request.page_size)
        opened = self._messages.after(request.page_token, session_id=session_id)
        after, seen = map(int, opened.split()) if opened else (0, 0)
        lines, has_more = await self._sessions.messages(
            caller(context), session_id, after=after, seen=seen, limit=size
        )
        token = ""
        if has_more:
            last = lines[-1]
            token = self._messages.token(
                f"{last.sequence - 1} {last.number}", session_id=session_id
            )
        return pb.ListMessagesResponse(messages=map(mapping.message, lines), next_page_token=token)

    async def ForkSession(
        self, request: pb.ForkSessionRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Session:
        """Begin a session with what was said in another."""
        wanted = mapping.wanted(request, idempotency_key(context))
        forked = await self._sessions.fork(
            caller(context), request.session_id, request.message, wanted
        )
        return mapping.session(forked)
