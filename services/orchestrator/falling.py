"""From a model that cannot to the next one of the task's route. What was said stays said where the
next one can go on from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

from services.chassis.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    ServiceError,
    Unavailable,
)
from services.orchestrator import resuming
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.failures import failure
from services.orchestrator.hearing import Hearing
from services.orchestrator.kit import Kit
from services.orchestrator.ports import Model, Models, Speakers
from services.orchestrator.router import behind, is_faulty
from services.orchestrator.turn import Conversing

LEAST_SECONDS: Final = 0.5  # Of silence that is borne, however little time is left.
MARGIN: Final = 1.2  # What the next model needs, and some more.
WARNED: Final = "MODEL_FALLBACK"
GONE: Final = "MODEL_NOT_FOUND"
AWAY: Final = frozenset({GONE, "MODEL_NOT_LOADED", "ENGINE_LOADING"})


@dataclass(frozen=True, slots=True)
class Falling:
    """Passes one task on."""

    kit: Kit

    async def equip(self) -> None:
        """Look up what the task runs with: the next model that is there, where its own is gone.

        Raises:
            NotFound: `MODEL_NOT_FOUND`; none of them is there.
            FailedPrecondition: `MODEL_NOT_LOADED`.
            Unavailable: `ENGINE_LOADING`; or somebody cannot be asked.
        """
        kit, task = self.kit, self.kit.task
        missing: ServiceError | None = None
        for name in (task.model, *behind(task)):
            try:
                kit.held = await kit.world.briefings.again(task.spec, name)
            except (NotFound, FailedPrecondition, Unavailable) as error:
                if error.reason not in AWAY:
                    raise
                missing = missing or error
            else:
                return
        if missing is not None:
            raise missing

    async def own_up(self) -> None:
        """Have the log say so, if the task runs with another model than it had before."""
        kit = self.kit
        if kit.task.spec.routed is None or kit.model.name == kit.task.model:
            return
        why = ev.Failure(NotFound.code, GONE, f"{kit.task.model} is not there any more")
        await self._change(kit.model, why)

    async def to_next(
        self, error: ServiceError, rest: Sequence[ev.Event], at: tuple[int, int], turn: ev.Turn
    ) -> bool:
        """Have the next model go on after this failure of the attempt `at`, of which `rest` is not
        written yet; whether there is one that may do better."""
        kit = self.kit
        if (model := await self._after(error)) is None:
            return False
        why = failure(error)
        if self._goes_on(model, rest, error):
            await self._change(model, why, *rest)
        else:
            await self._change(model, why, ev.StepAbandoned(kit.world.now(), *at, why, turn))
        return True

    async def instead(self, error: ServiceError) -> bool:
        """Before a turn that this one cannot have: let the next model have it; whether there is one
        that may do better."""
        if (model := await self._after(error)) is None:
            return False
        await self._change(model, failure(error))
        return True

    async def beside(self) -> Model | None:
        """The model that may be asked beside the task's own in the next turn."""
        routed = self.kit.task.spec.routed
        if routed is None or routed.hedge_after_ms is None:
            return None
        return await self.kit.world.router.next(self.kit.task)

    async def hasten(self) -> None:
        """Before a turn: let the next model have it, where this one would not be done in time and
        that one would sooner."""
        kit = self.kit
        if kit.task.spec.routed is None or (model := await kit.world.router.next(kit.task)) is None:
            return
        seen, most = kit.world.seen, self._most_tokens
        takes, left = seen.expected(self._named(kit.task.model), most), kit.left()
        other = seen.expected(self._named(model.name), most)
        if takes is not None and takes > left and other is not None and other < takes:
            message = f"{kit.task.model} takes about {takes:.3g} s, and {left:.3g} s are left"
            await self._change(model, failure(DeadlineExceeded("MODEL_TOO_SLOW", message)))

    async def hearing(self, models: Models) -> Speakers:
        """Who is listened to in the next turn."""
        kit = self.kit
        if (routed := kit.task.spec.routed) is None:
            return models
        model = await kit.world.router.next(kit.task)
        if model is None and routed.hedge_after_ms is None:
            return models

        async def changes() -> None:
            if model is not None:
                await self._change(model, None)

        return Hearing(
            models,
            None if model is None else self._patience(model, routed.patience_ms),
            _seconds(routed.hedge_after_ms),
            "" if model is None else model.name,
            changes,
        )

    async def charge(self, hearing: Speakers, speaker: Conversing) -> None:
        """Count a call that was made for nothing: it is paid for, too."""
        if not isinstance(hearing, Hearing) or (lost := hearing.lost) is None:
            return
        models = self.kit.world.models
        self.kit.world.seen.hedges["first" if lost.is_second else "second"] += 1
        try:
            model = await models.resolve(lost.generation.model)
        except ServiceError:
            return
        spent = await resuming.counted_so_far(models, lost.generation, model, "")
        speaker.beside = replace(spent, cost_usd=model.cost_usd(spent.prompt_tokens, 0))

    def note(self, speaker: Conversing) -> None:
        """How fast the model was in a turn that was heard out."""
        kit, first = self.kit, speaker.first_token_at
        if not kit.world.routes and kit.task.spec.routed is None:
            return  # Nobody wants to know.
        if first is None or first < speaker.began_at or speaker.turn.is_cached:
            return  # It went on from what another one had begun, or said nothing itself.
        kit.world.seen.spoke(
            self._named(kit.task.model),
            first_seconds=first - speaker.began_at,
            seconds=perf_counter() - speaker.began_at,
            tokens=speaker.turn.completion_tokens,
        )

    async def _after(self, error: ServiceError) -> Model | None:
        kit = self.kit
        if is_faulty(error):
            kit.world.seen.failed(self._named(kit.task.model))
        return await kit.world.router.after(kit.task, error, kit.model)

    def _named(self, model: str) -> tuple[str, str]:
        return self.kit.task.spec.tenant, model

    @property
    def _most_tokens(self) -> int:
        return self.kit.task.spec.sampling.max_tokens or self.kit.model.default_max_tokens

    def _patience(self, model: Model, most_ms: float | None) -> Callable[[], float]:
        """How long to bear silence: as long as the next model could still do it in time."""
        kit, most = self.kit, _seconds(most_ms)

        def seconds() -> float:
            left = kit.left()
            needs = kit.world.seen.expected(self._named(model.name), self._most_tokens)
            spare = left / 2 if needs is None else left - MARGIN * needs
            spare = max(spare, LEAST_SECONDS)
            return spare if most is None else min(most, spare)

        return seconds

    def _goes_on(self, model: Model, rest: Sequence[ev.Event], error: ServiceError) -> bool:
        """Whether the next model can say the rest of what was begun."""
        task = self.kit.task
        has_text = any(isinstance(each, ev.TextAdded) for each in rest)
        is_begun = has_text or (task.is_speaking and bool(task.text))
        is_free = task.spec.response_schema is None and error.reason != "MODEL_OUTPUT_INVALID"
        return is_begun and is_free and model.can_continue

    async def _change(self, model: Model, why: ev.Failure | None, *before: ev.Event) -> None:
        kit, now = self.kit, self.kit.world.now()
        name = kit.task.model
        events: list[ev.Event] = [*before]
        events.append(ev.ModelChanged(now, name, model.name, model.version, why))
        if why is not None:
            kit.world.seen.fallbacks[why.reason] += 1
            said = f"{name} could not go on ({why.reason}): {model.name} does"
            events.append(ev.Warned(now, WARNED, said))
        try:
            await kit.journal.append(*events)
        finally:  # Who is cancelled meanwhile has changed all the same.
            if kit.held is not None and kit.task.model == model.name:
                kit.held = replace(kit.held, model=model)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
