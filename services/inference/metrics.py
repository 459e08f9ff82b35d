"""What the inference service measures: how busy its engines are, under the names that autoscalers
know from vLLM, and whatever an engine counts by itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric

from services.chassis.errors import Unavailable
from services.chassis.metrics import Figure, Read
from services.inference.ports import Engine

_OF_VLLM: Final = "vllm:"
_LABELS: Final = ("model_name", "engine")
_RUNNING: Final = "vllm:num_requests_running"
_WAITING: Final = "vllm:num_requests_waiting"
_SLOTS: Final = "runplane_inference_slots"
_DESCRIPTIONS: Final = {
    _RUNNING: "Requests that an engine computes.",
    _SLOTS: "Requests that it computes at a time, at most.",
    _WAITING: "Requests that wait for an engine.",
}


@dataclass(frozen=True, slots=True)
class Load:
    """How busy an engine is."""

    model: str
    engine: str
    active: int
    waiting: int
    slots: int


def families(engines: Callable[[], Sequence[Engine]]) -> Callable[[], Iterator[Metric]]:
    """The metrics of the engines there are whenever they are read.

    vLLM registers its own for the process. It knows only the requests that got a slot, so those
    that wait for one are added to those that wait in it.
    """

    def read() -> Iterator[Metric]:
        own = {each.name: each for each in REGISTRY.collect() if each.name.startswith(_OF_VLLM)}
        own.pop(_RUNNING, None)
        inside = _by_model(own.pop(_WAITING, None))
        running, slots, waiting = (
            GaugeMetricFamily(name, description, labels=_LABELS)
            for name, description in _DESCRIPTIONS.items()
        )
        for load in _loads(engines()):
            labels = (load.model, load.engine)
            queued = min(inside.get(load.model, 0), load.active)  # Told at its last step.
            running.add_metric(labels, load.active - queued)
            slots.add_metric(labels, load.slots)
            waiting.add_metric(labels, load.waiting + queued)
        yield from (running, slots, waiting, *own.values())

    return read


def _loads(engines: Sequence[Engine]) -> Iterator[Load]:
    for engine in engines:
        try:
            model = engine.models()[0]
        except Unavailable:  # It is being loaded.
            continue
        yield Load(model.name, model.engine, engine.active, engine.waiting, model.slots)


def _by_model(metric: Metric | None) -> Mapping[str, float]:
    samples = metric.samples if metric is not None else []
    return {sample.labels["model_name"]: sample.value for sample in samples}


def of_models(failed: Read) -> Figure:
    """Which models are missing; `failed` has a 1 for those."""
    return Figure(
        "runplane_inference_model_failed",
        "Whether a model that is declared and wanted cannot be loaded.",
        failed,
        label="model_name",
    )
