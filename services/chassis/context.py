"""Who asks, and under which request and trace: as gRPC metadata and as a context variable."""

import random
import re
import secrets
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

from services.chassis.errors import FailedPrecondition, Violation, invalid
from services.chassis.tracing.sampling import Sampling

VERSIONS: Final = ("1.0",)
VERSION_KEY: Final = "runplane-version"
REQUEST_KEY: Final = "x-request-id"
TRACE_KEY: Final = "traceparent"
STATE_KEY: Final = "tracestate"
IDEMPOTENCY_KEY: Final = "idempotency-key"
CACHE_CONTROL: Final = "cache-control"
TENANT_KEY: Final = "runplane-tenant"
SUBJECT_KEY: Final = "runplane-subject"
ROLES_KEY: Final = "runplane-roles"

_ID: Final = re.compile(r"[A-Za-z0-9._:@/-]{1,128}")
_STATE: Final = re.compile(r"[\x20-\x7e]{1,512}")
_TRACEPARENT: Final = re.compile(
    r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
)


Link = tuple[str, str]
"""A trace and a part of it."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a call is made for. Every stored row is keyed by its tenant.

    Until authentication is set up, everyone is the local user of the default tenant.
    """

    tenant: str = "default"
    subject: str = "local"
    roles: tuple[str, ...] = ()


LOCAL: Final = Principal()


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One call as this process sees it."""

    principal: Principal
    request_id: str
    trace_id: str
    """32 hexadecimal digits (W3C Trace Context)."""
    span_id: str
    """16 hexadecimal digits: this process's part of the trace."""
    idempotency_key: str = ""
    """What came beside the request as such. It names this call, and is not sent along."""
    cache_control: str = ""
    """What came beside it of cached answers. It is of this call, too."""
    sampled: bool = True
    """Whether those who record traces record this one."""
    tracestate: str = ""
    """What others have put beside the trace, as it came."""
    parent_id: str = ""
    """The part of the trace that this one is of; empty if it is the first."""
    is_made_up: bool = False
    """Whether `span_id` stands for no span: nothing is a part of it."""

    @property
    def traceparent(self) -> str:
        """The trace and this part of it, as W3C Trace Context has them."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What to send along with calls made on behalf of this one.

        The local principal goes without saying: each pair costs grpc some 7 µs.
        """
        who = self.principal
        pairs: tuple[tuple[str, str], ...] = (
            (REQUEST_KEY, self.request_id),
            (TRACE_KEY, self.traceparent),
        )
        if self.tracestate:
            pairs = (*pairs, (STATE_KEY, self.tracestate))
        if who == LOCAL:
            return pairs
        named = (*pairs, (TENANT_KEY, who.tenant), (SUBJECT_KEY, who.subject))
        return (*named, (ROLES_KEY, ",".join(who.roles))) if who.roles else named


current: ContextVar[RequestContext] = ContextVar("runplane_request")
sampling: Final = [Sampling()]
"""What this process records of traces. `tracing` sets it, once."""


def new_trace_id() -> str:
    """A random trace id."""
    return secrets.token_hex(16)


def new_span_id() -> str:
    """A random span id."""
    return f"{random.getrandbits(64) or 1:016x}"


def within(context: RequestContext, span_id: str, parent_id: str) -> RequestContext:
    """The same request in a span; `replace` would take twice as long."""
    return RequestContext(
        context.principal,
        context.request_id,
        context.trace_id,
        span_id,
        context.idempotency_key,
        context.cache_control,
        context.sampled,
        context.tracestate,
        parent_id,
    )


def local_context(principal: Principal = LOCAL) -> RequestContext:
    """A context for work that no request asked for, such as start-up."""
    return _begun(principal, new_trace_id())


def resumed(tenant: str, subject: str, trace_id: str) -> RequestContext:
    """The context of work that a request of an earlier time asked for; that request's own, where it
    is the current one still."""
    who = Principal(tenant, subject)
    here = current.get(None)
    if here is not None and here.trace_id == trace_id and here.principal == who:
        return replace(here, idempotency_key="", cache_control="")
    return _begun(LOCAL if who == LOCAL else who, trace_id or new_trace_id())


def _begun(principal: Principal, trace_id: str) -> RequestContext:
    sampled = sampling[0].takes(trace_id, None)
    request_id = f"req_{secrets.token_hex(8)}"
    return RequestContext(
        principal, request_id, trace_id, new_span_id(), sampled=sampled, is_made_up=True
    )


def child(context: RequestContext) -> RequestContext:
    """The same request, in a span of its own."""
    return replace(context, span_id=new_span_id())


def continued(context: RequestContext, traceparent: str, state: str = "") -> RequestContext:
    """The same request as a part of the span that a caller names; unchanged if it names none."""
    trace = _TRACEPARENT.fullmatch(traceparent)
    if trace is None:
        return context
    sampled = sampling[0].takes(trace[1], _is_sampled(trace[3]))
    return replace(
        context,
        trace_id=trace[1],
        span_id=trace[2],
        sampled=sampled,
        tracestate=_state(state),
        is_made_up=False,
    )


def link(traceparent: str) -> Link | None:
    """The trace and the part of it that a caller names; None if it names none."""
    trace = _TRACEPARENT.fullmatch(traceparent)
    return None if trace is None else (trace[1], trace[2])


def traceparent_of(trace_id: str) -> str:
    """A trace as a message carries it: with the part that is current, if it is of that trace."""
    here = current.get(None)
    if here is not None and here.trace_id == trace_id:
        return here.traceparent
    flags = "01" if sampling[0].takes(trace_id, None) else "00"
    return f"00-{trace_id}-{new_span_id()}-{flags}"


def _is_sampled(flags: str) -> bool:
    return int(flags, 16) & 1 == 1


def _identifier(key: str, value: str) -> str:
    if not _ID.fullmatch(value):
        fix = "use 1 to 128 of A-Z a-z 0-9 . _ : @ / -"
        raise invalid(Violation(key, "is not an identifier", fix))
    return value


def _principal(values: Mapping[str, str]) -> Principal:
    if TENANT_KEY not in values and SUBJECT_KEY not in values and ROLES_KEY not in values:
        return LOCAL
    roles = values.get(ROLES_KEY)
    return Principal(
        tenant=_identifier(TENANT_KEY, values.get(TENANT_KEY, LOCAL.tenant)),
        subject=_identifier(SUBJECT_KEY, values.get(SUBJECT_KEY, LOCAL.subject)),
        roles=tuple(_identifier(ROLES_KEY, role) for role in roles.split(",")) if roles else (),
    )


def from_metadata(metadata: Iterable[tuple[str, str | bytes]] | None) -> RequestContext:
    """The context of an incoming call. What it does not carry is made up here.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; an id has characters that ids do not have.
        FailedPrecondition: `PROTOCOL_VERSION_UNSUPPORTED`.
    """
    values = {key: value for key, value in metadata or () if isinstance(value, str)}
    if (version := values.get(VERSION_KEY)) is not None:
        negotiate(version)
    trace = _TRACEPARENT.fullmatch(values.get(TRACE_KEY, ""))
    trace_id = trace[1] if trace else new_trace_id()
    request_id = values.get(REQUEST_KEY)
    return RequestContext(
        principal=_principal(values),
        request_id=(
            _identifier(REQUEST_KEY, request_id) if request_id else f"req_{secrets.token_hex(8)}"
        ),
        trace_id=trace_id,
        span_id=new_span_id(),
        idempotency_key=values.get(IDEMPOTENCY_KEY, ""),
        cache_control=values.get(CACHE_CONTROL, ""),
        sampled=sampling[0].takes(trace_id, _is_sampled(trace[3]) if trace else None),
        tracestate=_state(values.get(STATE_KEY, "")) if trace else "",
        parent_id=trace[2] if trace else "",
    )


def _state(state: str) -> str:
    """What others put beside the trace; nothing if it is no list, as W3C has it."""
    return state if _STATE.fullmatch(state) else ""


def negotiate(version: str) -> str:
    """The version to speak when a caller asks for `version`; empty means the newest.

    Raises:
        FailedPrecondition: `PROTOCOL_VERSION_UNSUPPORTED`, with the supported ones.
    """
    if not version:
        return VERSIONS[-1]
    if version not in VERSIONS:
        supported = ", ".join(VERSIONS)
        raise FailedPrecondition(
            "PROTOCOL_VERSION_UNSUPPORTED",
            f"{VERSION_KEY} {version[:32]} is not spoken here; supported: {supported}",
            version=version[:32],
            supported=supported,
            field=VERSION_KEY,
            suggested_fix=f"send {VERSION_KEY}: {VERSIONS[-1]}, or leave it out",
        )
    return version
