"""JSON lines on standard error, each with the request, trace and tenant it belongs to."""

import json
import logging
import queue
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from types import MappingProxyType
from typing import Final

from services.chassis.concerning import concerning
from services.chassis.context import current
from services.chassis.levels import apply
from services.chassis.sparing import Sparing
from services.chassis.tracebacks import shown

_STANDARD: Final = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", None, None)).keys() | {"message", "asctime", "context"}
)
_MAX_LINES: Final = 10_000
_MOST_CHARACTERS: Final = 2_000  # Of a text, but for frames, which are bounded by themselves.
# Libraries whose warnings quote what the servers of tenants say. What follows a colon is left out.
_QUOTING: Final = frozenset({"mcp"})
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON: what `extra` brings stands beside the message."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": _cut(_message(record)),
        }
        line |= getattr(record, "context", {})
        line |= {key: _cut(value) for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = shown(record.exc_info[1])
        # In ASCII: beyond it there are ends of lines, and what steers terminals.
        return json.dumps(line, default=_named)


def _message(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] in _QUOTING:
        return str(record.msg).partition(":")[0]
    return record.getMessage()


def _cut(value: object) -> object:
    is_long = isinstance(value, str) and len(value) > _MOST_CHARACTERS
    return f"{str(value)[:_MOST_CHARACTERS]}…" if is_long else value


def _named(value: object) -> str:
    """What is no JSON as text; of errors the type, since theirs quote."""
    return type(value).__name__ if isinstance(value, BaseException) else str(_cut(str(value)))


class _Handler(QueueHandler):
    """Hands records to a thread. When that cannot keep up, lines are lost, not the service.

    The bound is kept here and not by the queue: the mark that stops the thread has to fit too.
    """

    def __init__(self, lines: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(lines)
        self._lines = lines

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        if (context := current.get(None)) is not None:
            record.context = {
                "request_id": context.request_id,
                "trace_id": context.trace_id,
                "span_id": context.span_id,
                "tenant": context.principal.tenant,
                **concerning.get(),
            }
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() < _MAX_LINES:
            self._lines.put_nowait(record)


@contextmanager
def logging_to_stderr(
    service: str, level: str, levels: Mapping[str, str] = _NONE
) -> Iterator[None]:
    """Log as JSON lines until the context is left; then what is queued is still written."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue()
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(JsonFormatter(service))
    listener = QueueListener(lines, writer)
    handler = _Handler(lines)
    handler.addFilter(Sparing())
    root = logging.getLogger()
    root.addHandler(handler)
    apply(level, levels)
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        root.removeHandler(handler)
