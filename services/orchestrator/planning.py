"""What the model is asked next, and how it has to answer."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from services.chassis.errors import FailedPrecondition, ServiceError
from services.orchestrator.budget import Budget
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.binding import unbound
from services.orchestrator.domain.caching import control
from services.orchestrator.domain.prompt import conversation
from services.orchestrator.domain.step import Malformed, Outcome, Plan
from services.orchestrator.domain.task import Task
from services.orchestrator.domain.tool import Tool
from services.orchestrator.equipment import Equipment
from services.orchestrator.ports import Generation, Model, Models, Schemas
from services.orchestrator.turn import MAX_OUTPUT_CHARACTERS, Cut

MANY: Final = 2**31
NONE: Final[frozenset[str]] = frozenset()

Loose = dict[tuple[Tool, ...], frozenset[str]]
"""Which inputs of these tools the schema of a task's steps does not bind."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the turns of a task that has this equipment."""

    models: Models
    schemas: Schemas
    budget: Budget
    equipment: Equipment
    known: Loose = field(default_factory=dict)
    """What was found out for the steps before: several schemas are compiled for it."""

    async def plan(self, task: Task, *, is_last: bool, beside: Model | None = None) -> Plan:
        """How the next turn is to answer; `beside` its model, this one may be asked, too.

        Raises:
            FailedPrecondition: `TOKEN_LIMIT_REACHED` or `COST_LIMIT_REACHED`.
            ResourceExhausted: `QUOTA_EXCEEDED`.
        """
        spec = task.spec
        wanted = spec.sampling.max_tokens or self.equipment.model.default_max_tokens
        model = dearer(self.equipment.model, beside)
        count = partial(self._prompt_tokens, task, beside)
        if spec.limits.tokens is not None or spec.limits.cost_usd is not None:
            prompt = await count()
            wanted = min(wanted, _by_tokens(task, prompt), by_cost(task, prompt, model))
        wanted = await self.budget.hold(task, model, wanted, count)
        tools = () if is_last else tuple(self.equipment.tools.values())
        is_wrapped = bool(self.equipment.tools)
        return Plan(
            tools, is_wrapped, spec.response_schema, wanted, unbound=self._loose(task, tools)
        )

    def generation(self, task: Task, plan: Plan) -> Generation:
        """The question."""
        sampling = task.spec.sampling
        # Which tool to take is no matter of chance.
        if self.equipment.tools and sampling.temperature is None:
            sampling = replace(sampling, temperature=0.0)
        messages = self._messages(task)
        routed = task.spec.routed
        return Generation(
            task.model,
            messages,
            sampling,
            plan.max_tokens,
            plan.schema(),
            plan.prefix,
            task.spec.tenant,
            control(task.spec.cache),
            affinity=task.spec.session_id,
            priority="" if routed is None else routed.priority,
        )

    def check(self, outcome: Outcome, plan: Plan) -> None:
        """Raises `Malformed` when an answer is not what the caller's schema asks for."""
        schema = plan.answer_schema
        if schema is None or outcome.calls:
            return
        if violations := self.schemas.violations(schema, outcome.output):
            raise Malformed(f"the answer does not match: {violations[0].message}")

    def _loose(self, task: Task, tools: tuple[Tool, ...]) -> frozenset[str]:
        if not tools:
            return NONE
        if (loose := self.known.get(tools)) is None:
            loose = unbound(tools, task.spec.response_schema, self.schemas.fits)
            self.known[tools] = loose
        return loose

    async def _prompt_tokens(self, task: Task, beside: Model | None) -> int:
        count = partial(self.models.count_tokens, messages=self._messages(task))
        return await with_second(task, await count(task.model), beside, count)

    def _messages(self, task: Task) -> Sequence[ev.Message]:
        return conversation(task.spec, self.equipment.briefing, task.steps, task.said)


async def with_second(
    task: Task, prompt: int, beside: Model | None, count: Callable[[str], Awaitable[int]]
) -> int:
    """The tokens of a prompt, and those of a second call where one may be made beside the first: of
    the same model, or of the one `beside` it, which counts in its own way."""
    routed = task.spec.routed
    if routed is None or routed.hedge_after_ms is None:
        return prompt
    if beside is None:
        return 2 * prompt
    try:
        return prompt + max(prompt, await count(beside.name))
    except ServiceError:  # Then it cannot be called, either.
        return 2 * prompt


def dearer(model: Model, beside: Model | None) -> Model:
    """The model, at the prices that are enough whichever of both answers."""
    if beside is None:
        return model
    return replace(
        model,
        input_usd=max(model.input_usd, beside.input_usd),
        output_usd=max(model.output_usd, beside.output_usd),
    )


def _by_tokens(task: Task, prompt: int) -> int:
    if (allowed := task.spec.limits.tokens) is None:
        return MANY
    if (left := allowed - task.tokens - prompt) >= 1:
        return left
    raise _spent("TOKEN_LIMIT_REACHED", "limits.tokens", (allowed, task.tokens, prompt))


def by_cost(task: Task, prompt: int, model: Model) -> int:
    """As many tokens as what is left pays for behind such a prompt, at what the model charges.

    Raises:
        FailedPrecondition: `COST_LIMIT_REACHED`.
    """
    if (allowed := task.spec.limits.cost_usd) is None:
        return MANY
    left = allowed - task.cost_usd - model.cost_usd(prompt, 0)
    if not model.output_usd and left >= 0:
        return MANY
    if left > 0 and (tokens := int(min(MANY, left / model.output_usd * 1e6))) >= 1:
        return tokens
    raise _spent("COST_LIMIT_REACHED", "limits.cost_usd", (allowed, task.cost_usd, prompt))


def _spent(reason: str, field: str, facts: tuple[float, float, int]) -> FailedPrecondition:
    allowed, used, prompt = facts
    return FailedPrecondition(
        reason,
        f"{field} of {allowed:.9g} does not suffice: {used:.9g} is used, and the next prompt has "
        f"{prompt} tokens",
        limit=f"{allowed:.9g}",
        used=f"{used:.9g}",
        prompt_tokens=str(prompt),
        field=field,
        suggested_fix=f"raise {field}, or ask for less",
    )


def refused(fault: Cut | Malformed, plan: Plan) -> FailedPrecondition:
    """Output that is no step, as the error that it is."""
    if isinstance(fault, Cut):
        return FailedPrecondition(
            "MODEL_OUTPUT_INVALID",
            f"the model's output did not fit in {plan.max_tokens} tokens, or in "
            f"{MAX_OUTPUT_CHARACTERS} characters",
            max_tokens=str(plan.max_tokens),
            field="sampling.max_tokens",
            suggested_fix="raise sampling.max_tokens or limits.tokens, or ask for less",
        )
    return FailedPrecondition("MODEL_OUTPUT_INVALID", f"the model failed: {fault}")
