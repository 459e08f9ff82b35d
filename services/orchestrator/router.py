"""Which model a task gets, and which one goes on where that cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import Internal, NotFound, ServiceError
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.routed import Routed
from services.orchestrator.domain.routing import (
    DEFAULT,
    Asked,
    Candidate,
    Route,
    asked_of,
    chosen,
    rule_of,
)
from services.orchestrator.domain.task import Task
from services.orchestrator.ports import KnownModels, Model
from services.orchestrator.retries import is_passing
from services.orchestrator.seen import Seen

SHARED_TURN_LOST: Final = "SHARED_TURN_LOST"
"""That one that began a turn which this one shares had no more time for it."""
_WIDER: Final = "CONTEXT_WINDOW_EXCEEDED"
_ITS_OWN: Final = frozenset(
    {
        _WIDER,
        "MODEL_CAPABILITY_MISSING",
        "MODEL_NOT_FOUND",
        "MODEL_NOT_LOADED",
        "MODEL_OUTPUT_INVALID",
        "MODEL_TOO_SLOW",
        "SCHEMA_INVALID",
    }
)
"""What may be one model's own fault, so that another one may do better."""


@dataclass(frozen=True, slots=True)
class Router:
    """Applies routes to the models that there are."""

    models: KnownModels
    routes: Mapping[str, Route]
    seen: Seen

    def route(self, name: str) -> Route | None:
        """The route of this name, or that of requests that name no model."""
        return self.routes.get(name or DEFAULT)

    async def check(self, name: str) -> None:
        """Refuse what is neither a route nor a model.

        Raises:
            NotFound: `MODEL_NOT_FOUND`.
        """
        if self.route(name) is None:
            await self._resolved(name)

    async def choose(
        self, tenant: str, request: Request, key: str, *, has_tools: bool
    ) -> tuple[Model, Routed | None]:
        """The model of a request, and how it was chosen if a route did. The same `key` gets the
        same share of a route.

        Raises:
            NotFound: `MODEL_NOT_FOUND`.
            FailedPrecondition: `ROUTE_HAS_NO_MODEL`.
        """
        if (route := self.route(request.model)) is None:
            return await self._resolved(request.model), None
        known = await self.models.known()
        asked = asked_of(request, key, has_tools=has_tools)
        rule = rule_of(route, asked)
        names = {*rule.models, *rule.fallback} & known.keys() if rule.models else known.keys()
        models = {known[name].name: known[name] for name in sorted(names)}
        named = {name: self._candidate(tenant, each, asked) for name, each in models.items()}
        aliases = {name: named[known[name].name] for name in names if name}
        found = chosen(route, asked, list(named.values()), aliases)
        return models[found.models[0]], found

    async def widest(self, model: Model, routed: Routed | None) -> Model:
        """The model of a task's route that takes the longest prompt; the task's own without one."""
        if routed is None:
            return model
        known = await self.models.known()
        there = [known[name] for name in routed.models if name in known]
        return max([model, *there], key=lambda each: each.context_tokens)

    async def after(self, task: Task, error: ServiceError, now: Model) -> Model | None:
        """The next model of the task's route, if another one may do better than what it has now."""
        if not may_do_better(error):
            return None
        return await self.next(task, above=now.context_tokens if error.reason == _WIDER else 0)

    async def next(self, task: Task, *, above: int = 0) -> Model | None:
        """The next model of the task's route that is there, with a window above this."""
        if not (names := behind(task)):
            return None
        if (known := await self._known()) is None:
            return None
        there = (known[name] for name in names if name in known)
        return next((model for model in there if model.context_tokens > above), None)

    async def _known(self) -> Mapping[str, Model] | None:
        """The models there are; None if nobody can be asked. One replica that is gone is not all:
        the next call goes to another one."""
        for _ in range(2):
            try:
                return await self.models.known()
            except ServiceError:
                continue
        return None

    async def _resolved(self, name: str) -> Model:
        try:
            return await self.models.resolve(name)
        except NotFound as error:
            if self.routes:
                routes = ", ".join(sorted(self.routes))
                error.message += f"; routes are {routes}"
                error.metadata["routes"] = routes
            raise

    def _candidate(self, tenant: str, model: Model, asked: Asked) -> Candidate:
        return Candidate(
            model.name,
            model.context_tokens,
            model.capabilities,
            model.input_usd,
            model.output_usd,
            model.size_class,
            self.seen.expected((tenant, model.name), asked.output_tokens),
            self.seen.is_ailing((tenant, model.name)),
        )


def may_do_better(error: ServiceError) -> bool:
    """Whether another model may do what failed so."""
    return is_faulty(error) or error.reason in _ITS_OWN


def is_faulty(error: ServiceError) -> bool:
    """Whether whoever serves the model is at fault, and not the request, or another task."""
    if error.reason == SHARED_TURN_LOST:
        return False
    return is_passing(error) or isinstance(error, Internal | NotFound)


def behind(task: Task) -> tuple[str, ...]:
    """The models of its route that were not asked yet."""
    if (routed := task.spec.routed) is None or task.model not in routed.models:
        return ()
    return routed.models[routed.models.index(task.model) + 1 :]
