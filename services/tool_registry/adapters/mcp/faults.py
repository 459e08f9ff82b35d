"""What is said of a server that does not do as it should, and what is no server's doing."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from anyio import BrokenResourceError, ClosedResourceError
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT
from pydantic import ValidationError

from services.chassis.errors import ServiceError
from services.tool_registry.adapters.mcp.bounds import cut
from services.tool_registry.adapters.mcp.session import NotSpoken, OwnSuite
from services.tool_registry.adapters.mcp.stdio import ProgramFailed

log = logging.getLogger(__name__)

_SHOWN: Final = 500


def problem(error: BaseException) -> str:
    """Why a server cannot be reached, for whoever registered it.

    What no server can bring about is a fault of ours: it is logged as one, and told as one even
    where something of the server's went wrong beside it.
    """
    leaves = list(_leaves(error))
    if not all(isinstance(leaf, tuple(_SAYS)) for leaf in leaves):
        log.error("mcp link failed", exc_info=error)
        return "the link failed on the inside; the registry's log has the cause"
    said = (say(leaf) for known, say in _SAYS.items() for leaf in leaves if isinstance(leaf, known))
    return cut(next(said), _SHOWN)


def is_lost(error: MCPError) -> bool:
    """Whether the connection broke, and nothing is known of the request."""
    return error.code == CONNECTION_CLOSED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _of_mcp(error: BaseException) -> str:
    if not isinstance(error, MCPError):
        return str(error)
    if error.code == REQUEST_TIMEOUT:
        return "it does not answer in time"
    if error.code == CONNECTION_CLOSED:
        said = error.message.removeprefix("SSE stream failed: ")
        return "it hung up" if said == "Connection closed" else said
    return f"it answers with an error: {error.code} {error.message}"


def _of_invalid(error: BaseException) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    where = ".".join(map(str, error.errors(include_input=False, include_url=False)[0]["loc"]))
    return f"it answers what is not MCP: see {where or 'the whole answer'}"


# All that servers bring about. The first that fits; what says most comes first.
_SAYS: Final[Mapping[type[BaseException], Callable[[BaseException], str]]] = {
    ProgramFailed: str,
    NotSpoken: str,
    OwnSuite: str,
    ServiceError: str,
    ValidationError: _of_invalid,
    MCPError: _of_mcp,
    TimeoutError: lambda _: "it does not answer in time",
    **dict.fromkeys((BrokenResourceError, ClosedResourceError), lambda _: "it hung up"),
}
