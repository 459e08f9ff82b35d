"""What a task or a tool asks for, as a person reads it, and the requests that answer it."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from services.cli.plain import plain

Json = Mapping[str, Any]

ASKING: Final = frozenset({"approval_required", "input_required"})
CHILD: Final = "child_status_changed"
_KINDS: Final[Mapping[str, str]] = {"approval": "approval_required", "child": CHILD}
_TEXT: Final = "…"
_SAMPLES: Final[Json] = {
    "string": _TEXT,
    "integer": 0,
    "number": 0,
    "boolean": True,
    "array": [],
    "object": {},
}
_PROMPTED: Final[Mapping[str, Any]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One request that tells a task what it waits for."""

    means: str
    verb: str
    body: Json

    def command(self, url: str, task_id: str) -> str:
        """The request, for a shell."""
        body = shlex.quote(json.dumps(self.body, ensure_ascii=False))
        return plain(f"curl -s {shlex.quote(self.path(url, task_id))} --json {body}")

    def path(self, url: str, task_id: str) -> str:
        """Where the request goes."""
        return f"{url}/v1/tasks/{task_id}:{self.verb}"


def at_terminal() -> bool:
    """Whether somebody can be asked: questions go to standard error, so that results do not."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def questions(task: Json) -> Iterator[Json]:
    """What a task waits for, each as the event that says so."""
    for pending in task.get("pending_requests") or ():
        kind = _KINDS.get(str(pending.get("wants")), "input_required")
        facts = {"type": kind, "task_id": task.get("task_id"), "status": "waiting", "wants": ""}
        yield {**pending, **facts}


def lines(event: Json) -> Iterator[str]:
    """What is asked."""
    if event.get("type") == "approval_required":
        given = event.get("input")
        shown = f" with {json.dumps(given, ensure_ascii=False)}" if given else ""
        yield f"? may {event.get('tool_name')} be called{shown}?"
    elif requests := _requests(event):
        for request in requests.values():
            yield f"? {event.get('tool_name')} asks: {_message(request)}"
            yield from (f"    {_described(*field)}" for field in _fields(request))
    else:
        yield f"? {event.get('tool_name')} is yours to run"


def answers(event: Json) -> tuple[Answer, ...]:
    """What the task can be told."""
    call = {"tool_call_id": event.get("tool_call_id")}
    if event.get("type") == "approval_required":
        return Answer("yes", "approve", call), Answer("no", "deny", call)
    if requests := _requests(event):
        given = {name: _sample(request) for name, request in requests.items()}
        accepted = Answer("answer", "submit", {**call, "input_responses": given})
        return accepted, Answer("decline", "deny", call)
    done = Answer("what it returned", "submit", {**call, "output": _TEXT})
    return done, Answer("why it failed", "submit", {**call, "error": _TEXT})


def can_prompt(event: Json) -> bool:
    """Whether a few lines in a terminal can answer it."""
    if event.get("type") == "approval_required":
        return True
    requests = _requests(event)
    return bool(requests) and all(map(_is_flat, requests.values()))


def prompted(event: Json) -> Answer:
    """What a person answers in the terminal.

    Raises:
        Abort: Ctrl-C, or the end of the input.
    """
    yes, no = answers(event)
    if not _requests(event):
        return yes if click.confirm("  allow it?", err=True) else no
    if (given := responses(event)) is None:
        return no
    return Answer(yes.means, yes.verb, {**yes.body, "input_responses": given})


def responses(event: Json) -> Json | None:
    """What a person answers a tool that asks, by the names of its requests; None for nothing.

    Raises:
        Abort: as `prompted`.
    """
    if not click.confirm("  answer it?", default=True, err=True):
        return None
    return {
        name: {"action": "accept", "content": _content(request)}
        for name, request in _requests(event).items()
    }


def declined(event: Json) -> Json:
    """A no to each of a tool's requests."""
    return {name: {"action": "decline"} for name in _requests(event)}


def _content(request: Json) -> Json:
    content = {}
    for name, schema, is_required in _fields(request):
        value = _prompted(name, schema, is_required=is_required)
        if value is not None:
            content[name] = value
    return content


def _prompted(name: str, schema: Json, *, is_required: bool) -> object:
    """A value; None for a field that may be left out, and is."""
    kind = _PROMPTED[schema.get("type", "string")]
    choices = schema.get("enum")
    default = schema.get("default")
    is_optional = not is_required and default is None

    def read(given: str) -> object:
        if is_optional and not given:
            return None
        return click.Choice(choices)(given) if choices else click.types.convert_type(kind)(given)

    return click.prompt(
        f"  {plain(_described(name, schema, is_required))}",
        default="" if is_optional else default,
        show_default=not is_optional,
        value_proc=read,
        err=True,
    )


def _requests(event: Json) -> Mapping[str, Json]:
    requests = event.get("input_requests")
    return requests if isinstance(requests, Mapping) else {}


def _params(request: object) -> Json:
    params = request.get("params") if isinstance(request, Mapping) else None
    return params if isinstance(params, Mapping) else {}


def _message(request: Json) -> str:
    """What somebody is asked; of requests that are for programs, the whole."""
    params = _params(request)
    if "message" not in params:
        return json.dumps(request, ensure_ascii=False)
    where = f" {params['url']}" if "url" in params else ""
    return f"{params['message']}{where}"


def _fields(request: Json) -> list[tuple[str, Json, bool]]:
    """A form's fields, those first that it needs: names, schemas, whether it needs them."""
    schema = _params(request).get("requestedSchema")
    if not isinstance(schema, Mapping):
        return []
    properties, required = schema.get("properties"), schema.get("required") or []
    if not isinstance(properties, Mapping):
        return []
    found = [
        (name, each, name in required)
        for name, each in properties.items()
        if isinstance(each, Mapping)
    ]
    return sorted(found, key=lambda field: (not field[2], field[0]))


def _described(name: str, schema: Json, is_required: bool) -> str:
    """A field with its type, what it is for, and whether it may be left out."""
    choices = schema.get("enum")
    kind = "|".join(map(str, choices)) if choices else schema.get("type", "string")
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("maximum", "to"))
        if key in schema
    ]
    facts = " ".join([str(kind), *bounds]) + ("" if is_required else ", optional")
    about = schema.get("description") or ""
    return f"{name} ({facts})" + (f" {about}" if about else "")


def _is_flat(request: Json) -> bool:
    """Whether it is a form of texts, numbers, truth values and choices."""
    if not isinstance(request, Mapping) or request.get("method") != "elicitation/create":
        return False
    if not isinstance(_params(request).get("requestedSchema"), Mapping):
        return False
    return all(_is_plain(schema) for _, schema, _ in _fields(request))


def _is_plain(schema: Json) -> bool:
    choices = schema.get("enum")
    if choices is not None and not all(isinstance(each, str) for each in choices):
        return False
    return schema.get("type", "string") in _PROMPTED and not {"oneOf", "anyOf"} & schema.keys()


def _sample(request: Json) -> Json:
    """A response of the right shape, to be filled in."""
    if not _fields(request):
        return {"action": "accept"}
    content = {
        name: _value(schema)
        for name, schema, is_required in _fields(request)
        if is_required or "default" in schema
    }
    return {"action": "accept", "content": content}


def _value(schema: Json) -> object:
    if "default" in schema:
        return schema["default"]
    if choices := schema.get("enum"):
        return choices[0]
    if "minimum" in schema:
        return schema["minimum"]
    return _SAMPLES.get(str(schema.get("type", "string")), _TEXT)
