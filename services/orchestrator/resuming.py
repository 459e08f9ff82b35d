"""Going on with a text whose worker was lost in the middle of it. What is durable is kept."""

from dataclasses import replace
from functools import partial
from typing import Final

from services.chassis.errors import FailedPrecondition, ServiceError
from services.orchestrator.budget import Budget
from services.orchestrator.domain.events import Message, Turn
from services.orchestrator.domain.prompt import conversation
from services.orchestrator.domain.step import Begun, Plan, answer_characters
from services.orchestrator.domain.task import Task
from services.orchestrator.equipment import Equipment
from services.orchestrator.planning import by_cost, dearer, with_second
from services.orchestrator.ports import Generation, Model, Models

MOST_LOSSES: Final = 8  # Of workers: after more, a task may be what ends them.


def can_go_on(task: Task, model: Model, epoch: int) -> bool:
    """Whether the rest of the attempt that was cut can be said.

    What a schema of the caller's binds cannot: no grammar begins in the middle. The claim's epoch
    is durable, and counts how often the task was taken up: by a wait's end, or a worker's loss.
    """
    is_free = task.spec.response_schema is None
    is_in_the_middle = task.is_speaking and bool(task.text)
    has_room = epoch - task.waits <= MOST_LOSSES
    return is_in_the_middle and is_free and model.can_continue and has_room


async def plan(
    models: Models, budget: Budget, task: Task, equipment: Equipment, beside: Model | None = None
) -> Plan:
    """How the rest of the turn is to be said; `beside` its model, this one may be asked, too.

    Raises:
        FailedPrecondition: `MODEL_OUTPUT_INVALID`; no tokens are left for it.
        ResourceExhausted: `QUOTA_EXCEEDED`.
    """
    number, spec = task.at[0], task.spec
    thought = task.steps[number - 1].thought if len(task.steps) >= number else ""
    begun = Begun(thought, task.text, 0)
    found = Plan((), bool(equipment.tools), None, 0, begun)
    messages = conversation(spec, equipment.briefing, task.steps, task.said)
    own = await models.count_tokens(task.model, messages, found.prefix)
    said = own - await models.count_tokens(task.model, messages)
    count = partial(models.count_tokens, messages=messages, prefix=found.prefix)
    prompt = await with_second(task, own, beside, count)
    model = dearer(equipment.model, beside)
    left = (spec.sampling.max_tokens or equipment.model.default_max_tokens) - said
    if spec.limits.tokens is not None:
        left = min(left, spec.limits.tokens - task.tokens - prompt)
    left = min(left, by_cost(task, prompt, model))
    if left < 1:
        raise FailedPrecondition(
            "MODEL_OUTPUT_INVALID",
            f"no tokens are left behind the {said} of the text so far",
            field="sampling.max_tokens",
            suggested_fix="raise sampling.max_tokens or limits.tokens, or ask for less",
        )
    left = await budget.hold(task, model, left, partial(_known, prompt))
    begun = replace(begun, most_characters=answer_characters(said + left))
    return replace(found, max_tokens=left, begun=begun)


async def _known(prompt: int) -> int:
    return prompt


async def counted(models: Models, generation: Generation, plan: Plan, answer: str) -> Turn:
    """What a turn took that nobody listened to beyond its answer: the model did not get to say."""
    whole_plan = replace(plan, begun=plan.begun and replace(plan.begun, text=answer))
    model, messages = generation.model, generation.messages
    prompt = await models.count_tokens(model, messages, plan.prefix)
    whole = await models.count_tokens(model, messages, whole_plan.prefix)
    return Turn(prompt_tokens=prompt, completion_tokens=max(1, whole - prompt))


async def counted_so_far(models: Models, generation: Generation, model: Model, heard: str) -> Turn:
    """What a turn took that was broken off after this output. Not worth a failure."""
    try:
        whole = prompt = await models.count_tokens(
            generation.model, generation.messages, generation.prefix
        )
        if heard and model.can_continue:
            whole = await models.count_tokens(generation.model, generation.messages, heard)
        elif heard:
            said = (*generation.messages, Message("assistant", heard))
            whole = await models.count_tokens(generation.model, said)
    except ServiceError:
        return Turn()
    return Turn(prompt_tokens=prompt, completion_tokens=max(0, whole - prompt))
