"""What the model is shown: instructions, tools, examples, the conversation and the steps so far."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.orchestrator.domain.events import Message, Spec
from services.orchestrator.domain.task import Call, Step
from services.orchestrator.domain.tool import Tool

EXCERPT_CHARACTERS: Final = 4000
_EXAMPLES: Final = 4

_DIRECT: Final = "You are a helpful agent. Answer the user briefly and truthfully."
_WITH_TOOLS: Final = """\
You are a helpful agent with tools. Reply with one JSON object.
To use tools: {"thought": why, "tool_calls": [{"tool": name, "input": arguments}]}
To answer: {"thought": why, "answer": text for the user}
Use a tool when it can find the answer. After its result, answer.
Tools:
"""


def conversation(spec: Spec, tools: Sequence[Tool], steps: Sequence[Step]) -> list[Message]:
    """The messages of the next turn."""
    shown = list(_steps(steps))
    if not tools:
        start = [Message("system", _DIRECT)]
    else:
        start = [Message("system", _WITH_TOOLS + "\n".join(map(_describe, tools)))]
        start += _examples(tools)
    return [*start, *spec.history, Message("user", spec.query), *shown]


def _describe(tool: Tool) -> str:
    properties = tool.input_schema.get("properties")
    names = list(properties) if isinstance(properties, Mapping) else []
    return f"- {tool.name}({', '.join(names)}): {tool.description}"


def _examples(tools: Sequence[Tool]) -> Iterable[Message]:
    """Whole exchanges: a question, the call, the result, the answer."""
    shown = [(tool, example) for tool in tools for example in tool.examples[:1]]
    for tool, example in shown[:_EXAMPLES]:
        call = Call("", tool.name, example.input, example.output, latency_ms=0)
        yield Message("user", example.query)
        yield from _step(Step(f"I use {tool.name}.", (call,)))
        yield Message(
            "assistant", _dumps({"thought": "The tool gave it.", "answer": _say(example.output)})
        )
    yield Message("user", "Hello!")
    yield Message(
        "assistant", _dumps({"thought": "A greeting.", "answer": "Hello! How can I help?"})
    )


def _say(output: object) -> str:
    if isinstance(output, Mapping):
        return ", ".join(f"{key}: {value}" for key, value in output.items()) + "."
    return f"{output}."


def _steps(steps: Sequence[Step]) -> Iterable[Message]:
    for step in steps:
        if step.calls:
            yield from _step(step)


def _step(step: Step) -> Iterable[Message]:
    calls = [{"tool": call.tool, "input": call.input} for call in step.calls]
    yield Message(
        "assistant", _dumps({"thought": step.thought or "I use a tool.", "tool_calls": calls})
    )
    for call in step.calls:
        yield Message("tool", excerpt(_result(call)))


def _result(call: Call) -> str:
    if call.failure is None:
        return _dumps(call.output)
    return _dumps({"error": call.failure.message, "suggested_fix": call.failure.suggested_fix})


def excerpt(text: str) -> str:
    """As much of a text as a model is shown."""
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    return f"{text[:EXCERPT_CHARACTERS]} … ({len(text) - EXCERPT_CHARACTERS} characters left out)"


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
