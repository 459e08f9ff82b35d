"""What MCP's methods take here, as OpenTelemetry's conventions for MCP have it."""

import asyncio
from time import perf_counter
from typing import Final

from gateway.traffic import ClientGone
from services.chassis.exemplars import example
from services.chassis.histograms import CANCELED, OTHER, OTHER_ERROR, Histogram

DURATION: Final = "mcp_server_operation_duration_seconds"
TOOL_ERROR: Final = "tool_error"
"""The `error_type` of a result that says that a tool failed."""
# What clients send.
METHODS: Final = frozenset(
    {
        *("initialize", "ping", "server/discover", "logging/setLevel", "completion/complete"),
        *("tools/list", "tools/call", "prompts/list", "prompts/get", "subscriptions/listen"),
        *("resources/list", "resources/templates/list", "resources/read"),
        *("resources/subscribe", "resources/unsubscribe"),
        *("tasks/get", "tasks/update", "tasks/cancel"),
        *("notifications/initialized", "notifications/cancelled", "notifications/progress"),
        "notifications/roots/list_changed",
    }
)


class Operations:
    """What requests and notifications took."""

    def __init__(self) -> None:
        self.durations = Histogram(
            DURATION,
            "What requests and notifications of MCP took, to the end of their streams.",
            ["mcp_method_name", "error_type"],
        )

    def begin(self, method: object) -> "Operation":
        """Something is asked for; what no client sends is `other`."""
        is_known = isinstance(method, str) and method in METHODS
        return Operation(self, str(method) if is_known else OTHER)


class Operation:
    """One of them, as a `with` block; it counts when that is left."""

    __slots__ = ("_all", "_method", "_start", "error")

    def __init__(self, operations: Operations, method: str) -> None:
        self._all = operations
        self._method = method
        self._start = perf_counter()
        self.error = ""
        """How it failed."""

    def failed(self, code: int) -> None:
        """It is answered by this error of JSON-RPC, or of HTTP; the first to be told counts."""
        self.error = self.error or str(code)

    def __enter__(self) -> "Operation":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, asyncio.CancelledError | ClientGone):
            self.error = CANCELED
        elif error is not None:
            self.error = self.error or OTHER_ERROR
        took = perf_counter() - self._start
        self._all.durations.observe(took, self._method, self.error, trace_id=example())
