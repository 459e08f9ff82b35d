"""What the model is shown: instructions, tools, examples, the conversation and the steps so far."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Final

from services.orchestrator.domain.events import Message, Spec
from services.orchestrator.domain.examples import SHOWN, Shown, known, nearest
from services.orchestrator.domain.large import EXCERPT_CHARACTERS, Large, Part, fitting
from services.orchestrator.domain.task import Call, Step
from services.orchestrator.domain.tool import Tool

LARGE_CHARACTERS: Final = 3500  # As JSON; what is said of it takes the rest of an excerpt.
MARGIN_BYTES: Final = 16  # For what a template puts around a message.

_DIRECT: Final = "You are a helpful agent. Answer the user briefly and truthfully."
_WITH_TOOLS: Final = "You are a helpful agent with tools."
_PROTOCOL: Final = """\
 Reply with one JSON object.
To use tools: {"thought": why, "tool_calls": [{"tool": name, "input": arguments}]}
To answer: {"thought": why, "answer": text for the user}
Use a tool when it can find the answer. After its result, answer.
Tools:
"""


@dataclass(frozen=True, slots=True)
class Briefing:
    """What the model is told before the query."""

    tools: tuple[Tool, ...] = ()
    instructions: str = ""
    """The agent's; empty for the default agent."""
    history: Sequence[Message] = ()
    """What was said in the session before."""


def conversation(
    spec: Spec,
    briefing: Briefing,
    steps: Sequence[Step] = (),
    said: Sequence[tuple[int, str]] = (),
) -> list[Message]:
    """The messages of the next turn; `said` is what the user said after so many steps."""
    start = [_instructions(briefing.instructions, briefing.tools)]
    if briefing.tools:
        start += chain.from_iterable(map(_exchange, nearest(spec.query, briefing.tools)))
    return [*start, *briefing.history, *_asked(spec), *_steps(steps, said)]


def most_bytes(spec: Spec, briefing: Briefing) -> int:
    """No first turn's prompt is longer than this, a margin for each message included."""
    fixed = _most_fixed_bytes(briefing.instructions, briefing.tools)
    said = (*briefing.history, *_asked(spec))
    return fixed + sum(4 * len(message.content) + MARGIN_BYTES for message in said)


def _asked(spec: Spec) -> Sequence[Message]:
    """The request's conversation and its query, with what the model needs to read on in them."""
    asked = (*spec.history, Message("user", spec.query))
    if not spec.large:
        return asked
    large = dict(spec.large)
    names = [f"messages[{index}]" for index in range(len(asked))]
    if "query" in large:
        names[-1] = "query"
    return [
        replace(message, content=message.content + _note(name, message.content, large[name]))
        if name in large
        else message
        for name, message in zip(names, asked, strict=True)
    ]


def _note(name: str, beginning: str, large: Large) -> str:
    where = f'"of": "{name}" and "offset": {len(beginning.encode())}'
    return f"\n[{large.size_bytes} bytes in all; read_result reads on, with {where}]"


@lru_cache(64)
def _most_fixed_bytes(instructions: str, tools: tuple[Tool, ...]) -> int:
    """Instructions, and the longest examples that may be shown."""
    lengths = sorted(_bytes(_exchange(shown)) for shown in known(tools)) if tools else []
    return _bytes([_instructions(instructions, tools)]) + sum(lengths[-SHOWN:])


def _bytes(messages: Iterable[Message]) -> int:
    return sum(len(message.content.encode()) + MARGIN_BYTES for message in messages)


def _describe(tool: Tool) -> str:
    return f"- {tool.name}({', '.join(_names(tool.input_schema))}): {tool.description}"


def _names(schema: Mapping[str, object]) -> list[str]:
    """Of a tool's inputs, those first that it requires; in an order that is always the same."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping):
        return []
    first = [name for name in required if name in properties] if isinstance(required, list) else []
    return [*first, *sorted(properties.keys() - set(first))]


@lru_cache(64)
def _instructions(instructions: str, tools: tuple[Tool, ...]) -> Message:
    if not tools:
        return Message("system", instructions or _DIRECT)
    described = "\n".join(map(_describe, tools))
    return Message("system", (instructions or _WITH_TOOLS) + _PROTOCOL + described)


@lru_cache(1024)
def _exchange(shown: Shown) -> Sequence[Message]:
    """A question and its answer, with the tool call and its result between them."""
    return tuple(_exchanged(shown))


def _exchanged(shown: Shown) -> Iterable[Message]:
    example = shown.example
    yield Message("user", example.query)
    if not shown.tool:
        yield Message("assistant", _answer("I need no tool.", str(example.output)))
        return
    call = Call("", shown.tool, example.input, output=example.output, latency_ms=0)
    yield from _step(Step(f"I use {shown.tool}.", (call,)))
    yield Message("assistant", _answer("The tool gave it.", _say(example.output)))


def _answer(thought: str, answer: str) -> str:
    return _dumps({"thought": thought, "answer": answer})


def _say(output: object) -> str:
    output = _ordered(output)
    if not isinstance(output, Mapping):
        return f"The answer is {output}."
    facts = ", ".join(f"the {key} is {value}" for key, value in list(output.items())[:2])
    return f"{facts[:1].upper()}{facts[1:]}."


def _steps(steps: Sequence[Step], said: Sequence[tuple[int, str]]) -> Iterable[Message]:
    for number in range(len(steps) + 1):
        if number and (step := steps[number - 1]).calls:
            yield from _step(step)
        yield from (Message("user", text) for after, text in said if after == number)


def _step(step: Step) -> Iterable[Message]:
    calls = [{"tool": call.tool, "input": _ordered(call.input)} for call in step.calls]
    yield Message(
        "assistant", _dumps({"thought": step.thought or "I use a tool.", "tool_calls": calls})
    )
    for call in step.calls:
        yield Message("tool", excerpt(_result(call)))


def _result(call: Call) -> str:
    if isinstance(call.output, Large):
        return _beginning(call.call_id, call.output)
    if call.failure is None:
        return _dumps(_ordered(call.output))
    failed = call.failure
    told = {"reason": failed.reason, "error": failed.message, "suggested_fix": failed.suggested_fix}
    return _dumps(told)


def _beginning(call_id: str, large: Large) -> str:
    """How much there is, where the rest begins, and what of it is shown."""
    shown = Part(0, fitting(large.excerpt, LARGE_CHARACTERS), large.size_bytes)
    return _dumps(
        {
            "of": call_id,
            "size_bytes": large.size_bytes,
            "next_offset": shown.next_offset,
            "note": "This is the beginning; read_result reads on.",
            "text": shown.text,
        }
    )


def excerpt(text: str) -> str:
    """As much of a text as a model is shown."""
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    return f"{text[:EXCERPT_CHARACTERS]} … ({len(text) - EXCERPT_CHARACTERS} characters left out)"


def _ordered(value: object) -> object:
    """Members of objects in one order. Those of protobuf's maps come in another one in each
    process, and a prompt that differs in nothing else would be another to engines and caches."""
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else value


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
