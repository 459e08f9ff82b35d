"""What a task runs with: the agent's terms, which a request may narrow and not widen. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from services.chassis.errors import Violation, invalid
from services.orchestrator.domain.agent import Agent, agent_of
from services.orchestrator.domain.events import Sampling
from services.orchestrator.domain.named import named
from services.orchestrator.domain.named import narrowed as narrower
from services.orchestrator.domain.request import MAX_FAULTS, MAX_TOOLS, Request

Number = TypeVar("Number", int, float)


def narrowed(request: Request, agent: Agent) -> Request:
    """The request with the agent's terms for all that it leaves open. What another task asks for
    has what that one has left, or less.

    Raises:
        InvalidArgument: `TOOL_NOT_ALLOWED`, or `INVALID_REQUEST` for what else would widen them.
    """
    if faults := [*_tools(request, agent)]:
        raise invalid(*faults[:MAX_FAULTS], reason="TOOL_NOT_ALLOWED")
    if faults := [*_limits(request, agent), *_fixed(request, agent)]:
        raise invalid(*faults[:MAX_FAULTS])
    return replace(
        request,
        agent_version=agent.version,
        model=agent.model or request.model,
        request_class=request.request_class or agent.request_class,
        tools=tuple(_within(name, agent) for name in request.tools) or agent.tools,
        tool_choice=request.tool_choice or agent.tool_choice,
        approval_tools=_approved(request, agent),
        response_schema=(
            request.response_schema if agent.response_schema is None else agent.response_schema
        ),
        sampling=_sampling(request.sampling, agent.sampling),
        steps=_first(request.steps, agent.limits.steps),
        tokens=_least(request.tokens, agent.limits.tokens),
        cost_usd=_least(request.cost_usd, agent.limits.cost_usd),
        duration_ms=_first(request.duration_ms, agent.limits.duration_ms),
    )


def _tools(request: Request, agent: Agent) -> Iterator[Violation]:
    """Without names, an agent has all tools of the registry, and none that is an agent."""
    for index, name in enumerate(request.tools):
        if not (agent.has_tools and _within(name, agent)):
            listed = ", ".join(agent.tools) if agent.has_tools else ""
            fix = f"use some of {listed}" if listed else "leave tools out"
            message = f"{agent.agent_id} may not call {name}"
            yield Violation(f"tools[{index}]", message, fix)
    if request.tool_choice == "auto" and not agent.has_tools:
        fix = "leave tool_choice out"
        yield Violation("tool_choice", f"{agent.agent_id} may not call tools", fix)


def _within(text: str, agent: Agent) -> str:
    """The tool that is asked for as the agent may call it; empty if it may not."""
    asked = named(text)
    if not agent.tools:
        return "" if agent_of(asked.name) else text
    own = [each for each in map(named, agent.tools) if each.name == asked.name]
    allowed = narrower(asked, own[0]) if own else None
    return str(allowed) if allowed else ""


def _limits(request: Request, agent: Agent) -> Iterator[Violation]:
    limits = agent.limits
    if request.parent_task_id:
        return
    for field, asked, allowed in (
        ("limits.steps", request.steps, limits.steps),
        ("limits.tokens", request.tokens, limits.tokens),
        ("limits.cost_usd", request.cost_usd, limits.cost_usd),
        ("limits.duration_ms", request.duration_ms, limits.duration_ms),
        ("sampling.max_tokens", request.sampling.max_tokens, agent.sampling.max_tokens),
    ):
        if asked is not None and allowed is not None and asked > allowed:
            message = f"is {asked:g}; {agent.agent_id} may have {allowed:g}"
            yield Violation(field, message, f"send at most {allowed:g}, or leave it out")


def _fixed(request: Request, agent: Agent) -> Iterator[Violation]:
    """What an agent decides, if it says anything of it."""
    if request.model and agent.model and request.model != agent.model:
        message = f"is {request.model}; {agent.agent_id} runs on {agent.model}"
        yield Violation("model", message, "leave it out")
    schema = request.response_schema
    if schema is not None and agent.response_schema not in (None, schema):
        message = f"is not the one that {agent.agent_id} answers by"
        yield Violation("response_schema", message, "leave it out")


def _sampling(asked: Sampling, usual: Sampling) -> Sampling:
    return Sampling(
        temperature=_first(asked.temperature, usual.temperature),
        top_p=_first(asked.top_p, usual.top_p),
        max_tokens=_first(asked.max_tokens, usual.max_tokens),
        stop=asked.stop or usual.stop,
        seed=_first(asked.seed, usual.seed),
    )


def _approved(request: Request, agent: Agent) -> Sequence[str]:
    """All that either names; every tool where that is more than a request may name."""
    names = {*request.approval_tools, *agent.approval_tools}
    return tuple(sorted(names)) if len(names) <= MAX_TOOLS else ("*",)


def _least(asked: Number | None, allowed: Number | None) -> Number | None:
    return min((each for each in (asked, allowed) if each is not None), default=None)


def _first(asked: Number | None, usual: Number | None) -> Number | None:
    return usual if asked is None else asked
