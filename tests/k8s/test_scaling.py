"""What replicas follow is measured, and who follows it scales as it says."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import promql_parser
import pytest

from services.chassis.eventbus.inbound import Inbound
from services.chassis.eventlog.backlog import Backlog
from services.inference.measures import Measures
from services.inference.metrics import families
from services.orchestrator.metrics import of_worker
from services.orchestrator.worker import Worker
from services.workflow.metrics import of_events
from tests.k8s.manifests import Object, kustomizations, of_kind
from tests.k8s.settings import READ

ROOT = Path(__file__).parents[2]
METRIC: Final = re.compile(r"[a-z_:]+(?=\{)")
ALL: Final = "tests/everything"
SCALERS: Final = ("ScaledObject", "HorizontalPodAutoscaler")
ALWAYS_THERE: Final = ("num_requests_waiting", "queue_wait", "lag_messages")
"""Of what a process shows from its start on."""
DEFAULT_WINDOW_SECONDS: Final = 300
"""Of a HorizontalPodAutoscaler, before it takes replicas away."""


def triggers(name: str = ALL) -> Iterator[tuple[Object, Object]]:
    """What asks Prometheus, and whom it scales."""
    for scaled in of_kind(name, "ScaledObject").values():
        for trigger in scaled["spec"]["triggers"]:
            if trigger["type"] == "prometheus":
                yield trigger, scaled


def measured() -> set[str]:
    """The names that a suite has on its pages. What vLLM counts itself is tested with vLLM."""
    inbound, worker = Inbound.__new__(Inbound), Worker.__new__(Worker)  # Not asked for figures.
    with_vllm = (ROOT / "tests/on_vllm/test_vllm_engine.py").read_text(encoding="utf-8")
    of_vllm = re.search(r'for name in \((?P<names>"kv_cache_usage_perc"[^)]*)\)', with_vllm)
    assert of_vllm is not None
    return {
        *(figure.name for figure in (*of_events(Backlog(), inbound), *of_worker(worker, 1))),
        *(family.name for family in families(list)()),
        *(f"vllm:{each}" for each in re.findall(r'"(\w+)"', of_vllm["names"])),
        f"{Measures().queued.name}_bucket",
    }


def test_replicas_follow_these_metrics_and_each_of_them_is_measured() -> None:
    asked = {name for each, _ in triggers() for name in METRIC.findall(each["metadata"]["query"])}

    assert asked == {
        "runplane_orchestrator_queue_wait_seconds",
        "runplane_inference_queue_seconds_bucket",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "runplane_workflow_outbox_messages",
        "runplane_workflow_inbound_lag_messages",
    }
    assert asked <= measured()


def test_what_is_asked_is_promql() -> None:
    for trigger, _ in triggers():
        assert promql_parser.parse(trigger["metadata"]["query"]) is not None


@pytest.mark.parametrize("name", kustomizations())
def test_replicas_follow_what_is_measured_in_their_own_namespace(name: str) -> None:
    for trigger, scaled in triggers(name):
        query = trigger["metadata"]["query"]

        assert query.count(f'namespace="{scaled["metadata"]["namespace"]}"') == query.count("{")


@pytest.mark.parametrize("name", kustomizations())
def test_what_scales_scales_a_deployment_that_is_there(name: str) -> None:
    targets = [
        each["spec"]["scaleTargetRef"]["name"]
        for kind in SCALERS
        for each in of_kind(name, kind).values()
    ]

    assert set(targets) <= set(READ)
    assert len(targets) == len(set(targets))


def test_keda_scales_all_that_has_a_queue() -> None:
    scaled = {
        each["spec"]["scaleTargetRef"]["name"] for each in of_kind(ALL, "ScaledObject").values()
    }

    assert scaled == {"inference", "orchestrator", "workflow"}


def test_while_prometheus_has_no_answer_no_replica_is_taken_away() -> None:
    """A metric that cannot be had keeps an HPA from scaling down; a fallback would set a number,
    and an empty answer that is passed over would be zero."""
    passed_over = [
        each["metadata"]["query"]
        for each, _ in triggers()
        if each["metadata"].get("ignoreNullValues") != "false"
    ]

    assert [each["metadata"]["name"] for _, each in triggers() if "fallback" in each["spec"]] == []
    assert [query for query in passed_over if any(part in query for part in ALWAYS_THERE)] == []


def test_a_quantile_of_nothing_is_no_answer() -> None:
    """Where there was no observation it is NaN, of which some releases of KEDA make a number."""
    quantiles = [
        each["metadata"]["query"]
        for each, _ in triggers()
        if "histogram_quantile" in each["metadata"]["query"]
    ]

    assert quantiles
    assert [query for query in quantiles if not query.endswith(">= 0")] == []


def test_replicas_are_taken_away_slowly() -> None:
    """`cooldownPeriod` is about the last replica alone, and there is always more than one."""
    for scaled in of_kind(ALL, "ScaledObject").values():
        spec = scaled["spec"]
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]

        assert "cooldownPeriod" not in spec
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= DEFAULT_WINDOW_SECONDS
        assert spec["minReplicaCount"] >= 2


def test_prod_keeps_as_many_orchestrators_as_edges() -> None:
    least = {
        service: each["spec"].get("minReplicaCount") or each["spec"]["minReplicas"]
        for kind in SCALERS
        for service, each in of_kind("overlays/prod", kind).items()
    }

    assert least["orchestrator"] == least["gateway"] == 3
