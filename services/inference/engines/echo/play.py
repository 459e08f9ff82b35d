"""What the echo engine says: a script's step, in the shape that a schema asks for. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.inference.domain.generation import FinishReason
from services.inference.domain.request import JSON, Request, ResponseSchema
from services.inference.engines import failures
from services.inference.engines.echo.instance import NothingMatchesError, merge, minimal
from services.inference.engines.echo.rest import rest, whole
from services.inference.engines.echo.script import (
    MAX_TOKENS,
    Counted,
    Script,
    Step,
    last_user_text,
    loads,
    parse,
    split,
)

_GARBAGE: Final = "this is {not what was asked for"


@dataclass(frozen=True, slots=True)
class Turn:
    """What is about to be said."""

    step: Step
    tokens: Sequence[str]
    reason: FinishReason


def plan(request: Request, count: int | None = None) -> Turn:
    """What the engine will say. `count` tokens of text, if given, whatever the script says."""
    script = parse(last_user_text(request.messages))
    step = script.step(request.messages)
    if request.schema is None or not _offers_calls(request.schema.document):
        step = script.answer
    wanted = count if count is not None else script.tokens
    tokens: Sequence[str] = split(script.text) if wanted is None else Counted(wanted)
    if "garbage" in step.flags:
        tokens = split(_GARBAGE)
    elif request.schema is not None:
        tokens = split(_bound_text(request.schema, script, step, tokens))
    elif request.prefix:
        tokens = split(whole(request.prefix, "".join(tokens)))
    if request.sampling.stop:
        tokens = _stopped(tokens, request.sampling.stop)
    if request.prefix:
        tokens = split(rest(request.prefix, "".join(tokens)))
    return _limited(step, tokens, request)


def _stopped(tokens: Sequence[str], stops: Sequence[str]) -> Sequence[str]:
    text = "".join(tokens)
    ends = [index for stop in stops if (index := text.find(stop)) >= 0]
    return split(text[: min(ends)]) if ends else tokens


def _limited(step: Step, tokens: Sequence[str], request: Request) -> Turn:
    limit = request.sampling.max_tokens or MAX_TOKENS
    if "cut" in step.flags:
        limit = min(limit, len(tokens) // 2)
    if len(tokens) <= limit:
        return Turn(step, tokens, "stop")
    return Turn(step, tokens[:limit], "length")


def _bound_text(schema: ResponseSchema, script: Script, step: Step, tokens: Sequence[str]) -> str:
    try:
        return json.dumps(_document(schema, script, step, "".join(tokens)), ensure_ascii=False)
    except NothingMatchesError as error:
        raise failures.schema_refused(str(error)) from None


def _document(schema: ResponseSchema, script: Script, step: Step, text: str) -> JSON:
    """A value that matches the schema; where the user wrote JSON, that JSON if it can be."""
    root = schema.document
    shape = _shape(root, calls=bool(step.calls))
    properties = shape.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    hints: dict[str, JSON] = {"thought": step.thought}
    if step.calls and "tool_calls" in known:
        return _filled(shape, root, {**hints, "tool_calls": step.calls})
    if _is_text(known.get("answer")):
        return _filled(shape, root, {**hints, "answer": text})
    try:
        own = loads(script.text)
    except ValueError:
        return _filled(shape, root, hints)
    written = _filled(shape, root, {**hints, "answer": own}) if "answer" in known else own
    if not schema.violations(written) or ("answer" in known and isinstance(own, dict | list)):
        return written
    return _filled(shape, root, hints)


def _filled(shape: Mapping[str, JSON], root: Mapping[str, JSON], hints: Mapping[str, JSON]) -> JSON:
    """The minimal value, with the hints where the shape has properties of their names."""
    properties = shape.get("properties")
    if not isinstance(properties, Mapping):
        return minimal(shape, root)
    fixed = dict(properties)
    for name, value in hints.items():
        if name in fixed:
            fixed[name] = {"const": _cut(value, fixed[name])}
    return minimal({**shape, "properties": fixed}, root)


def _cut(value: JSON, schema: JSON) -> JSON:
    most = schema.get("maxLength") if isinstance(schema, Mapping) else None
    return value[: int(most)] if isinstance(value, str) and isinstance(most, int | float) else value


def _is_text(schema: JSON) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string"


def _shape(root: Mapping[str, JSON], *, calls: bool) -> Mapping[str, JSON]:
    """The option of the schema to speak in: the one with tool calls, or one without."""
    options = _options(root)
    fitting = (each for each in options if _has_calls(each) == calls)
    return next(fitting, options[0] if options else root)


def _options(root: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    found = root.get("anyOf") or root.get("oneOf")
    if not isinstance(found, list):
        return [merge(root, root)]
    return [merge(option, root) for option in found if isinstance(option, Mapping)]


def _has_calls(shape: Mapping[str, JSON]) -> bool:
    properties = shape.get("properties")
    return isinstance(properties, Mapping) and "tool_calls" in properties


def _offers_calls(root: Mapping[str, JSON]) -> bool:
    return any(map(_has_calls, _options(root)))
