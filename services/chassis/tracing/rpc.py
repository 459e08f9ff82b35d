"""Spans of calls by gRPC, at both ends."""

from typing import Final, NamedTuple

from services.chassis.context import current
from services.chassis.tracing import names
from services.chassis.tracing.spans import CLIENT, NOTHING, Facts, Nothing, Span, entered, span


class Method(NamedTuple):
    """An RPC, as its spans have it."""

    name: str
    path: str
    facts: Facts


_called: Final[dict[bytes, Method]] = {}
"""Of stubs: a bounded set, that of the contracts."""


def method(service: str, name: str) -> Method:
    """What spans say of an RPC."""
    facts = {names.RPC_SYSTEM: "grpc", names.RPC_SERVICE: service, names.RPC_METHOD: name}
    return Method(name, f"{service}/{name}", facts)


def served(of: Method) -> Span | Nothing:
    """The span of a call that came in; the current context is that call's."""
    serving = entered(of.path, always=of.facts)
    if serving is not NOTHING:
        serving.set(names.TENANT, current.get().principal.tenant)
    return serving


def called(raw: bytes) -> Span | Nothing:
    """The span of a call that goes out; `raw` is its path as grpc has it."""
    calling = span("", CLIENT)
    if isinstance(calling, Span):
        if (of := _called.get(raw)) is None:
            service, _, name = raw.decode().strip("/").rpartition("/")
            of = _called[raw] = method(service, name)
        calling.name = of.path
        calling.always = of.facts
    return calling
