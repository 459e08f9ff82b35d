"""The replicas of the inference service: a channel to each, and what is asked of each now.

Addresses are looked up again and again. One that failed gets nothing for a while, and one that is
gone is let go of when its last call has ended.
"""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Final, Protocol

from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis.client import channel
from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable
from services.chassis.lately import Lately
from services.chassis.settings import ClientSettings
from services.orchestrator.domain.balancing import Load, replica
from services.orchestrator.domain.routing import BYTES_A_TOKEN
from services.orchestrator.ports import Generation

log = logging.getLogger(__name__)

LookUp = Callable[[], Awaitable[Sequence[str]]]
"""Where the replicas are now."""

MOST_FULL: Final = 1024  # Models of one replica that are remembered to be full.
MOST_OUTPUT_TOKENS: Final = 1024  # That a call is reckoned to take: few answers are longer.
_LISTED: Final = ("ipv4:", "ipv6:")
_NAMED: Final = "dns:///"
_PLACE: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_LEAVING: Final = "SERVICE_STOPPING"
"""What a replica says that can do nothing at all; else it is its models that fail."""
_LOADING: Final = "ENGINE_LOADING"
"""What one says that can do it soon; others may have loaded the model already."""


Asked = tuple[str, str]
"""A tenant, and the model that it asks."""


def _lately() -> Lately[Asked, float]:
    return Lately(MOST_FULL, owner=lambda asked: asked[0])


@dataclass
class Replica:
    """One of them."""

    address: str
    stub: "pb_grpc.InferenceServiceAsyncStub"
    close: AsyncExitStack
    tokens: int = 0
    """Of the calls that go on here."""
    calls: int = 0
    out_until: float = 0.0
    full_until: Lately[Asked, float] = field(default_factory=_lately)
    """Whose models can do nothing more here until then."""
    is_gone: bool = False

    def is_out(self, asked: Asked | None, now: float) -> bool:
        """Whether it is passed by, for a model of somebody's."""
        full_until = self.full_until.get(asked) if asked is not None else None
        return max(self.out_until, full_until or 0.0) > now


@dataclass
class Replicas:
    """Lends the one that is best for a call. `replicas_of` makes it."""

    settings: ClientSettings
    leave_out: timedelta
    hot_tokens: int
    now: Callable[[], float] = monotonic
    _there: dict[str, Replica] = field(default_factory=dict)
    _gone: list[Replica] = field(default_factory=list)
    _placed: dict[int, str] = field(default_factory=dict)

    @contextmanager
    def lent(self, generation: Generation) -> Iterator[Replica]:
        """The replica for a call, which counts as its load until the context is left.

        Raises:
            Unavailable: `NO_OTHER_REPLICA`; or `NO_REPLICA`, there is none at all.
        """
        found, tokens = self._found(generation), weight(generation)
        found.tokens += tokens
        found.calls += 1
        self._placed[id(generation)] = found.address
        try:
            yield found
        except (ResourceExhausted, Unavailable) as error:
            self._pass_by(found, _asked(generation), error)
            raise
        finally:
            found.tokens -= tokens
            found.calls -= 1
            self._placed.pop(id(generation), None)

    def loads(self, asked: Asked | None = None) -> Sequence[Load]:
        """What is asked of each now, and which of them are out, for this model or for all."""
        now = self.now()
        return [Load(x.address, x.tokens, x.is_out(asked, now)) for x in self._there.values()]

    async def set(self, addresses: Sequence[str]) -> None:
        """These are there from now on, and no others."""
        for address in [each for each in addresses if each not in self._there]:
            stack = AsyncExitStack()
            target = self.settings.model_copy(update={"target": address})
            opened = await stack.enter_async_context(channel(target))
            stub: pb_grpc.InferenceServiceAsyncStub = pb_grpc.InferenceServiceStub(opened)
            self._there[address] = Replica(address, stub, stack)
        for address in [each for each in self._there if each not in addresses]:
            self._gone.append(self._there.pop(address))
        for idle in [each for each in self._gone if not each.calls]:
            self._gone.remove(idle)
            await idle.close.aclose()

    async def close(self) -> None:
        """Let go of all of them."""
        for each in (*self._there.values(), *self._gone):
            await each.close.aclose()

    def _pass_by(self, found: Replica, asked: Asked, error: ServiceError) -> None:
        """Ask something else of a replica that said so, or nothing at all, for a while. What a
        tenant's own model says puts no replica out for the others."""
        if isinstance(error, ResourceExhausted) or error.reason == _LOADING:
            wait = min(self.leave_out, error.retry_after or timedelta(0)).total_seconds()
            found.full_until.put(asked, self.now() + wait)
        elif not error.domain or error.reason == _LEAVING:
            found.out_until = max(found.out_until, self.now() + self.leave_out.total_seconds())

    def _found(self, generation: Generation) -> Replica:
        loads = self.loads(_asked(generation))
        if (other := generation.apart_from) is not None:
            there = self._placed.get(id(other))
            loads = [each for each in loads if each.address != there and not each.is_out]
            if not loads:
                raise Unavailable("NO_OTHER_REPLICA", "there is no other replica to ask")
        if not loads:
            raise Unavailable("NO_REPLICA", "no replica of the inference service is known")
        key = generation.affinity if other is None else ""
        return self._there[replica(loads, key, hot_tokens=self.hot_tokens).address]


def _asked(generation: Generation) -> Asked:
    return generation.tenant, generation.model


def weight(generation: Generation) -> int:
    """The tokens that a call may take, about."""
    said = sum(len(message.content) for message in generation.messages) + len(generation.prefix)
    return said // BYTES_A_TOKEN + min(generation.max_tokens, MOST_OUTPUT_TOKENS)


class Balance(Protocol):
    """How calls are shared out."""

    @property
    def refresh(self) -> timedelta:
        """How often addresses are looked up."""

    @property
    def leave_out(self) -> timedelta:
        """For how long one that cannot be reached gets nothing."""

    @property
    def hot_tokens(self) -> int:
        """How many tokens more than the idlest one make a session go elsewhere."""


@asynccontextmanager
async def replicas_of(
    settings: ClientSettings, balance: Balance, look_up: LookUp | None = None
) -> AsyncIterator[Replicas]:
    """The replicas behind a target, looked up again and again, until the context is left."""
    found = Replicas(settings, balance.leave_out, balance.hot_tokens)
    look_up = look_up or partial(addresses, settings.target)
    try:
        await _set(found, look_up)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(_follow(found, look_up, balance.refresh))
            try:
                yield found
            finally:
                following.cancel()
    finally:
        await found.close()


async def addresses(target: str) -> Sequence[str]:
    """What stands behind a target: those that it lists, or that its host name has now. What grpc
    alone can read is one.

    Raises:
        Unavailable: `NO_REPLICA`; a name has no address.
    """
    for scheme in _LISTED:
        if target.startswith(scheme):
            return target.removeprefix(scheme).split(",")
    place = _PLACE.fullmatch(target.removeprefix(_NAMED))
    if place is None:
        return [target]
    return await _looked_up(place["host"].strip("[]"), int(place["port"]))


async def _looked_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a host. One that has two kinds of them is there once for each of the first
    kind: what listens is the same."""
    if host == "localhost":
        return [f"{host}:{port}"]
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise Unavailable("NO_REPLICA", f"{host} has no address", host=host) from None
    places = sorted({str(info[4][0]) for info in infos})
    old = [f"{place}:{port}" for place in places if ":" not in place]
    return old or [f"[{place}]:{port}" for place in places]


async def _follow(found: Replicas, look_up: LookUp, refresh: timedelta) -> None:
    while True:
        await asyncio.sleep(refresh.total_seconds())
        await _set(found, look_up)


async def _set(found: Replicas, look_up: LookUp) -> None:
    """What cannot be looked up now stays as it was."""
    try:
        await found.set(await look_up())
    except ServiceError as error:
        log.warning("replicas not looked up", extra={"error_code": error.reason})
    except Exception:
        log.exception("replicas not looked up")
