"""What is under way at the edge: how much, which calls, and how all of it ends."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, Protocol

from uvicorn._types import ASGIReceiveCallable

from services.chassis.errors import ServiceError, Unavailable

# Most calls are over before this. Only for those that last is it worth a task to watch the client.
WATCH_AFTER: Final = 0.02
_RETRY_AFTER: Final = timedelta(seconds=1)


class ClientGone(Exception):
    """There is no one left to answer."""


class Cancellable(Protocol):
    """A gRPC call, as far as this module cares."""

    def cancel(self) -> bool:
        """Stop it, here and at the service."""
        ...


class Watch:
    """One call under way. It is cancelled when its client goes away, or the edge has to stop."""

    __slots__ = ("_call", "_end", "_task", "_timer", "_traffic", "is_resumable")

    def __init__(
        self,
        traffic: "Traffic",
        call: Cancellable,
        receive: ASGIReceiveCallable | None,
        *,
        at_once: bool,
    ) -> None:
        self._traffic = traffic
        self._call = call
        self._end: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.is_resumable = False
        if at_once and receive is not None:
            self._start(receive)
        elif receive is not None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._start, receive)

    def __enter__(self) -> "Watch":
        self._traffic.calls.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._traffic.calls.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        """End the call because the edge stops."""
        self.end(stopping())

    def end(self, why: Exception) -> None:
        """End the call, for the first reason that is given."""
        if self._end is None:
            self._end = why
            self._call.cancel()

    def explain(self) -> None:
        """Say why the call was cancelled, if it was this watch that did it.

        Raises:
            ClientGone: the client went away.
            Unavailable: `EDGE_STOPPING`.
            Exception: what else it was ended for.
        """
        if self._end is not None:
            raise self._end

    def _start(self, receive: ASGIReceiveCallable) -> None:
        self._task = self._traffic.tasks.create_task(self._until_gone(receive))

    async def _until_gone(self, receive: ASGIReceiveCallable) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end(ClientGone())


class Traffic:
    """Counts requests and keeps the calls that they wait for."""

    def __init__(self, tasks: asyncio.TaskGroup, *, max_requests: int) -> None:
        self.tasks = tasks
        self.calls: set[Watch] = set()
        self.is_stopping = False
        self._max_requests = max_requests
        self._requests = 0
        self._is_idle = asyncio.Event()

    def watch(
        self, call: Any, receive: ASGIReceiveCallable | None, *, at_once: bool = False
    ) -> Watch:
        """Watch a call for as long as the context is open; soon, or from the start. Without
        `receive`, who reads from the client says when it is gone."""
        return Watch(self, call, receive, at_once=at_once)

    def enter(self) -> None:
        """Count a request in."""
        self._requests += 1

    def leave(self) -> None:
        """Count it out."""
        self._requests -= 1
        if self.is_stopping and not self._requests:
            self._is_idle.set()

    def admit(self) -> None:
        """Refuse what would be too much.

        Raises:
            Unavailable: `EDGE_STOPPING` or `EDGE_OVERLOADED`.
        """
        if self.is_stopping:
            raise stopping()
        if self._requests > self._max_requests:
            raise Unavailable(
                "EDGE_OVERLOADED", "too many requests are under way; try again"
            ).after(_RETRY_AFTER)

    async def drain(self, grace: timedelta) -> None:
        """Take no more. Streams that can be resumed elsewhere end now, the rest at the latest
        after the grace period."""
        self.is_stopping = True
        if not self._requests:
            return
        for call in [each for each in self.calls if each.is_resumable]:
            call.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace.total_seconds()):
                await self._is_idle.wait()
        for call in list(self.calls):
            call.stop()


def stopping() -> ServiceError:
    """The refusal of an edge that is on its way out."""
    return Unavailable("EDGE_STOPPING", "this edge is stopping; another will answer").after(
        _RETRY_AFTER
    )
