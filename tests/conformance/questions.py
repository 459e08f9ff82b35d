"""Tools and a prompt of the fixture server that need answers before they can answer (SEP-2322)."""

import hashlib
import hmac
import json
import secrets
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
)

from tests.conformance.plain import text

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]

_KEY: Final = secrets.token_bytes(32)
_ROOTS: Final = {"method": "roots/list", "params": {}}


def question(message: str, name: str, kind: str = "string") -> Result:
    """An elicitation of one value."""
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


def sample(said: str) -> Result:
    """A wish for what a model says."""
    message = {"role": "user", "content": {"type": "text", "text": said}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 50}}


def asked(state: Result | None = None, **requests: Result) -> Result:
    """A result that asks."""
    result: Result = {"resultType": "input_required", "inputRequests": requests}
    if state is not None:
        result["requestState"] = _sealed({**state, "nonce": secrets.token_hex(8)})
    return result


def responses(ctx: Context) -> Result:
    """What was answered."""
    return dict((ctx.params or {}).get("inputResponses") or {})


def state(ctx: Context) -> Result:
    """What this server asked to be told again."""
    said = (ctx.params or {}).get("requestState")
    return _opened(said) if said else {}


def given(response: Result, name: str) -> Any:
    """One value of an answered elicitation."""
    return (response.get("content") or {}).get(name, "unknown")


async def elicitation(ctx: Context, arguments: Result) -> Result:
    if (answer := responses(ctx).get("user_name")) is None:
        return asked(user_name=question("What is your name?", "name"))
    return text(f"Hello, {given(answer, 'name')}!")


_PERSON: Final[Result] = {
    "username": {"type": "string", "description": "User's response"},
    "email": {"type": "string", "description": "User's email address"},
}
_DEFAULTS: Final[Result] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {
        "type": "string",
        "enum": ["active", "inactive", "pending"],
        "default": "active",
    },
    "verified": {"type": "boolean", "default": True},
}
_TITLED: Final = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
_PLAIN: Final = {"type": "string", "enum": ["option1", "option2", "option3"]}
_ENUMS: Final[Result] = {
    "untitledSingle": _PLAIN,
    "titledSingle": {"type": "string", "oneOf": _TITLED},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": _PLAIN},
    "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
}


async def person(ctx: Context, arguments: Result) -> Result:
    return _filled_in(ctx, _PERSON, str(arguments.get("message", "Who are you?")))


async def defaults(ctx: Context, arguments: Result) -> Result:
    return _filled_in(ctx, _DEFAULTS, "Please review")


async def enums(ctx: Context, arguments: Result) -> Result:
    return _filled_in(ctx, _ENUMS, "Please choose")


def _filled_in(ctx: Context, fields: Result, message: str) -> Result:
    """Asks for a form, and says what was filled in."""
    if (answer := responses(ctx).get("form")) is None:
        schema = {"type": "object", "properties": fields, "required": list(fields)}
        params = {"mode": "form", "message": message, "requestedSchema": schema}
        return asked(form={"method": "elicitation/create", "params": params})
    said = json.dumps(answer.get("content"))
    return text(f"Elicitation completed: action={answer['action']}, content={said}")


async def sampling(ctx: Context, arguments: Result) -> Result:
    if (answer := responses(ctx).get("capital_question")) is None:
        return asked(capital_question=sample("What is the capital of France?"))
    return text(f"Sampling result: {json.dumps(answer.get('content'))}")


async def list_roots(ctx: Context, arguments: Result) -> Result:
    if (answer := responses(ctx).get("client_roots")) is None:
        return asked(client_roots=_ROOTS)
    return text(f"Found {len(answer.get('roots', []))} root(s)")


async def request_state(ctx: Context, arguments: Result) -> Result:
    if state(ctx).get("kind") != "request-state" or "confirm" not in responses(ctx):
        return asked({"kind": "request-state"}, confirm=question("Sure?", "ok", "boolean"))
    return text("state-ok: requestState validated")


async def tampered_state(ctx: Context, arguments: Result) -> Result:
    if state(ctx).get("kind") != "tamper" or "confirm" not in responses(ctx):
        return asked({"kind": "tamper"}, confirm=question("Sure?", "ok", "boolean"))
    return text("integrity-ok: state verified")


async def multiple_inputs(ctx: Context, arguments: Result) -> Result:
    wanted = {
        "user_name": question("What is your name?", "name"),
        "greeting": sample("Generate a greeting"),
        "client_roots": _ROOTS,
    }
    answers = responses(ctx)
    if not state(ctx) or any(name not in answers for name in wanted):
        return asked({"kind": "multiple"}, **wanted)
    return text(f"Name: {given(answers['user_name'], 'name')}")


async def multi_round(ctx: Context, arguments: Result) -> Result:
    before, answers = state(ctx), responses(ctx)
    if before.get("round") == 1 and "step1" in answers:
        name = given(answers["step1"], "name")
        return asked({"round": 2, "name": name}, step2=question("Which color?", "color"))
    if before.get("round") == 2 and "step2" in answers:
        return text(f"{before['name']} likes {given(answers['step2'], 'color')}")
    return asked({"round": 1}, step1=question("What is your name?", "name"))


async def capabilities(ctx: Context, arguments: Result) -> Result:
    can = _capabilities(ctx)
    if answers := responses(ctx):
        return text(f"capabilities-ok: received {', '.join(answers)}")
    possible = {
        "elicitation": {"elicit_input": question("A value?", "value")},
        "sampling": {"sample_input": sample("Sample request")},
    }
    wanted = {
        key: value for name in possible if name in can for key, value in possible[name].items()
    }
    return asked(**wanted) if wanted else text("No supported capabilities declared")


async def missing_capability(ctx: Context, arguments: Result) -> Result:
    if "sampling" not in _capabilities(ctx):
        needed = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is needed", needed)
    return text("Success")


async def prompt(ctx: Context, arguments: Result) -> Result:
    if (answer := responses(ctx).get("user_context")) is None:
        return asked(user_context=question("Which context?", "context"))
    said = f"Prompt with context: {given(answer, 'context')}"
    return {"messages": [{"role": "user", "content": {"type": "text", "text": said}}]}


def _capabilities(ctx: Context) -> Result:
    meta = (ctx.params or {}).get("_meta") or {}
    return dict(meta.get(CLIENT_CAPABILITIES_META_KEY) or {})


def _sealed(value: Result) -> str:
    data = json.dumps(value)
    return json.dumps({"data": data, "seal": _seal(data)})


def _opened(said: str) -> Result:
    try:
        outer = json.loads(said)
        if not hmac.compare_digest(outer["seal"], _seal(outer["data"])):
            raise MCPError(INVALID_PARAMS, "requestState is not what this server gave")
    except (ValueError, KeyError, TypeError):
        raise MCPError(INVALID_PARAMS, "requestState is not what this server gave") from None
    opened: Result = json.loads(outer["data"])
    return opened


def _seal(data: str) -> str:
    return hmac.new(_KEY, data.encode(), hashlib.sha256).hexdigest()
