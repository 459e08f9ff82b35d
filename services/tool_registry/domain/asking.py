"""What a tool may ask its caller for, instead of answering; pure. The words are MCP's."""

from collections.abc import Mapping
from typing import Final

from services.chassis.asking import CAPABILITIES, MAX_REQUEST_BYTES, MAX_REQUESTS, method_of
from services.tool_registry.domain.result import check_size, invalid
from services.tool_registry.domain.tool import ToolFailure

NOT_OFFERED: Final = "INPUT_NOT_OFFERED"


def check(
    inputs: Mapping[str, object], state: str, capabilities: Mapping[str, object] | None, name: str
) -> None:
    """Refuse requests that are none, are too large, or that this caller cannot answer.

    Raises:
        ToolFailure: `INPUT_NOT_OFFERED`, `TOOL_OUTPUT_INVALID` or `TOOL_RESULT_TOO_LARGE`.
    """
    methods = [method_of(each) for each in inputs.values()] if isinstance(inputs, Mapping) else []
    if not methods or not isinstance(state, str):
        raise invalid(name, "requests for input that are none")
    if len(inputs) > MAX_REQUESTS:
        raise invalid(name, f"{len(inputs)} requests for input at once; {MAX_REQUESTS} are taken")
    check_size(name, MAX_REQUEST_BYTES, inputs)
    check_size(name, MAX_REQUEST_BYTES, state)
    for method in methods:
        if (kind := CAPABILITIES.get(method)) is None:
            raise invalid(name, f"a request for input by {method[:64] or 'no method'}")
        if capabilities is None or kind not in capabilities:
            raise not_offered(name, kind, method)


def not_offered(name: str, kind: str = "elicitation", method: str = "") -> ToolFailure:
    """That a caller cannot be asked; without a method, for what is not known."""
    what = f"input ({method}), and this caller does not offer {kind}" if method else ""
    message = f"{name} asks its caller for {what or 'what this caller does not offer'}"
    fix = f'call it with "capabilities": {{"{kind}": {{}}}} and answer what it asks'
    return ToolFailure(NOT_OFFERED, message, f"{fix}, or use another tool")
