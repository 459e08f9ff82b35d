"""Which model and which replica: decided again and again, with nothing else around it."""

from collections.abc import Mapping
from itertools import cycle
from time import process_time
from typing import Final, cast

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from benchmarks.load.job import Job, Report
from services.orchestrator.domain.balancing import Load, replica
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.routing import Policy, RequestClass, Route, Rule
from services.orchestrator.mapping.tasks import request
from services.orchestrator.ports import Model
from services.orchestrator.router import Router
from services.orchestrator.seen import Seen

REPLICAS: Final = 8
_NAMES: Final = tuple(f"model-{number:02d}" for number in range(8))
_OTHER: Final = frozenset({RequestClass.CLASSIFICATION})
_LAST: Final[Mapping[Policy, Rule]] = {
    Policy.CHEAPEST: Rule(Policy.CHEAPEST),
    Policy.FASTEST: Rule(Policy.FASTEST),
    Policy.PINNED: Rule(Policy.PINNED, _NAMES[:1], fallback=_NAMES[1:3]),
    Policy.WEIGHTED: Rule(Policy.WEIGHTED, _NAMES[:3], (6.0, 3.0, 1.0)),
    Policy.CANARY: Rule(Policy.CANARY, _NAMES[:2], percent=5),
}


class _Known:
    """Models that are at hand."""

    def __init__(self, count: int) -> None:
        models = [
            Model(f"model-{n:02d}", "1", 32_768, 512, True, 0.1 * (n + 1), 0.2 * (n + 1))
            for n in range(count)
        ]
        self._models = {"": models[0]} | {model.name: model for model in models}

    async def known(self) -> Mapping[str, Model]:
        """All of them."""
        return self._models

    async def resolve(self, name: str) -> Model:
        """One of them."""
        return self._models[name]


async def run(job: Job) -> Report:
    """`job.count` decisions by each policy among `options.models` models; then of a replica."""
    models, seen = _Known(cast("int", job.options["models"])), Seen()
    for number, name in enumerate(await models.known()):
        seen.spoke(("default", name), first_seconds=0.1 + number / 100, seconds=1.0, tokens=100)
    each: dict[str, float] = {}
    began = process_time()
    for policy, last in _LAST.items():
        rules = (Rule(Policy.PINNED, _NAMES[:1], classes=_OTHER), last)
        router = Router(models, {"r": Route("r", rules)}, seen)
        each[f"{policy}_us"] = await _decided(router, job.count)
    each["replica_us"] = _balanced(job.count)
    return {
        "count": job.count * len(each),
        "seconds": process_time() - began,
        "errors": {},
        **each,
    }


async def _decided(router: Router, count: int) -> float:
    asked = [_request(n) for n in range(64)]
    keys = [f"session_{n}" for n in range(64)]
    began = process_time()
    for _, found, key in zip(range(count), cycle(asked), cycle(keys), strict=False):
        await router.choose("default", found, key, has_tools=True)
    return (process_time() - began) / count * 1e6


def _request(number: int) -> Request:
    query = f"What is {number} times 7, and why? " * 8
    return request(pb.InvokeRequest(query=query, model="r"))


def _balanced(count: int) -> float:
    loads = [Load(f"10.0.0.{n}:8082", 100 * n) for n in range(REPLICAS)]
    began = process_time()
    for number in range(count):
        replica(loads, f"session_{number % 64}", hot_tokens=4096)
    return (process_time() - began) / count * 1e6
