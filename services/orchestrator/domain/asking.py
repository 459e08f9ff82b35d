"""What a tool asks for while it runs, and what is an answer to that. Pure.

Both are MCP's: a request has a `method` and `params`, and what answers it is that method's result.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from services.chassis.asking import MAX_REQUEST_BYTES, MAX_REQUESTS, METHODS, method_of
from services.chassis.errors import Violation, invalid
from services.orchestrator.domain.events import Failure

ELICITATION: Final[Mapping[str, object]] = {"elicitation": {}}
"""The capabilities of a task: anybody of the tenant can answer it."""
MAX_ROUNDS: Final = 10
MAX_RESPONSE_BYTES: Final = 64 * 1024  # As JSON.
DECLINED: Final[Mapping[str, object]] = {"action": "decline"}
_ACTIONS: Final = ("accept", "decline", "cancel")


def refused(
    tool: str,
    requests: Mapping[str, object],
    state: str,
    rounds: int,
    capabilities: Mapping[str, object],
) -> Failure | None:
    """Why a task does not ask this for its tool, which has asked so often before."""
    size = max(len(json.dumps(requests, ensure_ascii=False).encode()), len(state.encode()))
    methods = [METHODS[each] for each in capabilities if each in METHODS]
    why = ""
    if rounds >= MAX_ROUNDS:
        why = f"asked for something {MAX_ROUNDS} times already"
    elif len(requests) > MAX_REQUESTS or size > MAX_REQUEST_BYTES:
        why = f"asks for {len(requests)} things in {size} bytes at once"
    elif not requests:
        why = "waits for an answer and asks for nothing"
    elif others := [name for name, each in requests.items() if method_of(each) not in methods]:
        why = f"asks by {others[0][:64]!r} for what it cannot be given"
    if not why:
        return None
    fix = "give it all that it needs at once, or use another tool"
    return Failure("FAILED_PRECONDITION", "TOOL_INPUT_REFUSED", f"{tool} {why}", fix)


def declined(requests: Mapping[str, object]) -> Mapping[str, object]:
    """A no to each of these requests."""
    return dict.fromkeys(requests, DECLINED)


def check(requests: Mapping[str, object], responses: Mapping[str, object]) -> None:
    """Refuse what answers none of these requests, or is no answer to one.

    Raises:
        InvalidArgument: `INVALID_REQUEST`.
    """
    if faults := [*_faults(requests, responses)]:
        raise invalid(*faults[:10])


def forms(
    requests: Mapping[str, object], responses: Mapping[str, object]
) -> Iterator[tuple[str, Mapping[str, object], object]]:
    """What was filled in: where it stands, the schema it has to match, and what it is."""
    for name, request in requests.items():
        match request, responses.get(name):
            case (
                {"params": {"requestedSchema": dict(schema)}},
                {"action": "accept", "content": content},
            ):
                yield f"input_responses.{name}.content", schema, content


def _faults(requests: Mapping[str, object], responses: Mapping[str, object]) -> Iterator[Violation]:
    listed = ", ".join(requests)
    if not responses:
        for name in requests:
            yield Violation(f"input_responses.{name}", "is missing", f"answer some of {listed}")
    for name, request in requests.items():
        field = f"input_responses.{name}"
        if name not in responses:
            continue
        if method_of(request) == METHODS["elicitation"]:
            yield from _elicited(field, responses[name])
        elif not isinstance(responses[name], Mapping):
            yield Violation(field, "is no object", "send the result of its method")
    for name in sorted({*responses} - {*requests})[:1]:
        fix = f"answer {listed}, and nothing else"
        yield Violation(f"input_responses.{name[:64]}", "was not asked for", fix)


def _elicited(field: str, response: object) -> Iterator[Violation]:
    action = response.get("action") if isinstance(response, Mapping) else None
    if action not in _ACTIONS:
        fix = f"send an object with an action: {', '.join(_ACTIONS)}"
        yield Violation(f"{field}.action", "is no action", fix)
    elif isinstance(response, Mapping) and not isinstance(response.get("content", {}), Mapping):
        yield Violation(f"{field}.content", "is no object", "send an object, or leave it out")
