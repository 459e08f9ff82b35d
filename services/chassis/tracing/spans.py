"""Spans as the code makes them. They know no OpenTelemetry: `export.py` does, if there is any.

A span takes its place in `context.current`, where ids of request and trace are anyway. Where
nothing is recorded, all of this is one comparison.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Final, TypeAlias

from services.chassis.context import RequestContext, current, new_span_id, sampling, within
from services.chassis.errors import ServiceError
from services.chassis.tracing import names
from services.chassis.tracing.sampling import Sampling

Value: TypeAlias = "str | bool | int | float | Sequence[str]"
Facts = Mapping[str, Value]
NO_FACTS: Final[Facts] = {}

INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
PRODUCER: Final = 4
CONSUMER: Final = 5

MOST_EVENTS: Final = 64
MOST_CHARACTERS: Final = 4096
"""Of a text that is sent."""
SLOW_APPEND_MS: Final = 100.0

_sinks: list[Callable[["Span"], None]] = []
"""Of this process: none, or the one that `record_to` set."""
_serving: ContextVar["Span | Nothing"] = ContextVar("runplane_serving")
_with_content: set[bool] = set()


class Span:
    """A part of a trace that is recorded: from its making on until `end`, or as a `with` block.

    As a block it is what others become part of. What is raised in it marks it as failed.
    """

    __slots__ = (
        "_append_ms",
        "_appends",
        "_before",
        "_events",
        "always",
        "context",
        "end_ns",
        "events",
        "facts",
        "failure",
        "is_in_scope",
        "kind",
        "links",
        "name",
        "start_ns",
    )

    def __init__(
        self,
        name: str,
        kind: int,
        context: RequestContext,
        facts: Facts | None = None,
        always: Facts = NO_FACTS,
    ) -> None:
        self.name = name
        self.kind = kind
        self.context = context
        """Of what is done in it: it has the ids of the span and of its parent."""
        self.always = always
        """What is said of all of its kind: one object for them, of which nothing is said again."""
        self.facts: dict[str, Value] = dict(facts) if facts else {}
        self.events: Sequence[tuple[str, int, Facts]] = ()
        self.links: Sequence[tuple[str, str]] = ()
        self.failure = ""
        self.is_in_scope = True
        self.start_ns = time.time_ns()
        self.end_ns = 0
        self._before: RequestContext | None = None
        self._appends = self._events = 0
        self._append_ms = 0.0

    def set(self, name: str, value: Value) -> None:
        """Say something of it."""
        self.facts[name] = value

    def appended(self, events: int, seconds: float) -> None:
        """So many events went into a log, in so much time. A span of each would be most of a trace:
        they are added up, and what was slow is an event."""
        milliseconds = seconds * 1e3
        self._appends += 1
        self._events += events
        self._append_ms += milliseconds
        if milliseconds >= SLOW_APPEND_MS:
            self.event("slow_append", {names.EVENTS: events, names.APPEND_MS: milliseconds})

    def event(self, name: str, facts: Facts | None = None) -> None:
        """Something happens in it."""
        if len(self.events) < MOST_EVENTS:
            self.events = (*self.events, (name, time.time_ns(), facts or NO_FACTS))

    def link(self, trace_id: str, span_id: str) -> None:
        """It goes on with what another span did."""
        if trace_id and len(self.links) < MOST_EVENTS:
            self.links = (*self.links, (trace_id, span_id))

    def fail(self, kind: str) -> None:
        """It failed; `kind` is of a bounded set, such as an error's reason."""
        self.failure = kind
        self.facts[names.ERROR] = kind

    def end(self) -> None:
        """Record it. A second time does nothing."""
        if not self.end_ns:
            self.end_ns = time.time_ns()
            if self._appends:
                self.facts[names.APPENDS] = self._appends
                self.facts[names.EVENTS] = self._events
                self.facts[names.APPEND_MS] = self._append_ms
            for sink in _sinks:
                sink(self)

    def __enter__(self) -> "Span":
        if self.is_in_scope:
            self._before = current.get(None)
            current.set(self.context)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        # A generator may be closed elsewhere, where something else is current.
        if self._before is not None and current.get(None) is self.context:
            current.set(self._before)
        if error is not None:
            self._failed_by(error)
        self.end()

    def _failed_by(self, error: BaseException) -> None:
        if isinstance(error, ServiceError):
            self.fail(error.reason)
            self.facts[names.STATUS] = error.code
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.facts[names.CANCELED] = True
        else:
            self.fail(type(error).__name__)


class Nothing:
    """A span that is not recorded."""

    __slots__ = ()
    context: None = None

    def set(self, name: str, value: Value) -> None:
        """Nothing."""

    def appended(self, events: int, seconds: float) -> None:
        """Nothing."""

    def event(self, name: str, facts: Facts | None = None) -> None:
        """Nothing."""

    def link(self, trace_id: str, span_id: str) -> None:
        """Nothing."""

    def fail(self, kind: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        pass


NOTHING: Final = Nothing()


def span(
    name: str,
    kind: int = INTERNAL,
    facts: Facts | None = None,
    *,
    always: Facts = NO_FACTS,
    here: RequestContext | None = None,
) -> Span | Nothing:
    """A new part of the trace: of the current span, or of `here`."""
    if not _sinks or (parent := here or current.get(None)) is None or not parent.sampled:
        return NOTHING
    above = "" if parent.is_made_up else parent.span_id
    return Span(name, kind, within(parent, new_span_id(), above), facts, always)


def beside(
    name: str, kind: int = INTERNAL, facts: Facts | None = None, *, always: Facts = NO_FACTS
) -> Span | Nothing:
    """The same, but as a block it does not become what is current: for generators, whose caller
    would be taken for a part of it."""
    if isinstance(aside := span(name, kind, facts, always=always), Span):
        aside.is_in_scope = False
    return aside


def life(
    name: str, facts: Facts, *, whole: str, number: int, always: Facts = NO_FACTS
) -> Span | Nothing:
    """One of the lives of something that outlives processes: `number`, from 1, of `whole`.

    Ids follow from both: a later life, wherever it is, is linked to the one before, and a part of
    the first.
    """
    if not is_recording():
        return NOTHING
    here, above = current.get(), ""
    if not here.is_made_up:
        above = here.span_id
    elif number > 1:
        above = life_id(whole, 1)
    living = Span(name, INTERNAL, within(here, life_id(whole, number), above), facts, always)
    if number > 1:
        living.link(here.trace_id, life_id(whole, number - 1))
    return living


def life_id(whole: str, number: int) -> str:
    """The id of that span."""
    return hashlib.sha256(f"{whole}/{number}".encode()).hexdigest()[:16]


def entered(
    name: str, kind: int = SERVER, facts: Facts | None = None, *, always: Facts = NO_FACTS
) -> Span | Nothing:
    """The span of a call that has just come in: the current context is its own already."""
    if not _sinks or not (here := current.get()).sampled:
        return NOTHING
    served = Span(name, kind, here, facts, always)
    served.is_in_scope = False
    _serving.set(served)
    return served


def serving() -> Span | Nothing:
    """The span of the call that is being answered."""
    return _serving.get(NOTHING) if _sinks else NOTHING


def is_recording() -> bool:
    """Whether anything of the current trace is recorded."""
    return bool(_sinks) and (here := current.get(None)) is not None and here.sampled


def is_on() -> bool:
    """Whether this process records anything."""
    return bool(_sinks)


def has_content() -> bool:
    """Whether somebody asked for prompts, answers and what tools are given to be recorded."""
    return bool(_with_content)


def record_to(sink: Callable[[Span], None] | None, how: Sampling, *, content: bool = False) -> None:
    """Record to `sink` from here on, what `how` says; None: record nothing."""
    _sinks[:] = [] if sink is None else [sink]
    sampling[0] = how
    _with_content.clear()
    if content:
        _with_content.add(True)
