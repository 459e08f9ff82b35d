"""Routes and fallbacks, over real sockets: models that die in the middle of an answer."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from runplane.orchestrator.v1 import agents_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.errors import FailedPrecondition
from services.chassis.settings import SharedSettings
from services.orchestrator.app import running
from services.orchestrator.settings import Settings
from tests.integration.orchestrator.conftest import LOOPBACK, SHARED, Suite, started
from tests.servers.models import Mind, serving_models

WORDS = ("one ", "two ", "three ", "four")
ROUTES = """\
routes:
  - name: default
    rules:
      - {policy: pinned, models: [large], fallback: [small], priority: batch}
  - name: careful
    rules:
      - {policy: cheapest, hedge_after: 100ms}
"""


@dataclass(frozen=True)
class Minded:
    """A suite, and the models that it asks."""

    suite: Suite
    large: Mind
    small: Mind

    async def ran(self, **fields: object) -> list[pb.TaskEvent]:
        """The log of a task that asks for no tools."""
        return await self.suite.events("Hello", tool_choice="none", **fields)

    async def killed(self, **fields: object) -> list[pb.TaskEvent]:
        """The log of a task whose model is killed in the middle of its answer."""
        running = asyncio.create_task(self.ran(**fields))
        await self.large.waits.wait()
        self.large.kill()
        return await running


@asynccontextmanager
async def minded(
    folder: Path,
    *,
    pauses_after: int | None = None,
    facts: Mapping[str, object] | None = None,
    shared: SharedSettings = SHARED,
) -> AsyncIterator[Minded]:
    """A suite with two models and these routes."""
    (folder / "routes.yaml").write_text(ROUTES)
    large = Mind(WORDS, pauses_after, {"input_price_usd": 2.0, "output_price_usd": 2.0})
    small = Mind(WORDS, facts=facts or {})
    async with (
        asyncio.timeout(20),
        serving_models({"large": large, "small": small}) as target,
        started(inference_target=target, routes=folder / "routes.yaml", shared=shared) as suite,
    ):
        yield Minded(suite, large, small)


def kinds(events: list[pb.TaskEvent]) -> list[str]:
    return [event.type for event in events]


async def test_an_answer_whose_model_is_killed_is_finished_by_the_next_one(tmp_path: Path) -> None:
    async with minded(tmp_path, pauses_after=2) as it:
        events = await it.killed()

    text = "".join(event.text for event in events if event.type == "message_delta")
    assert text == "".join(WORDS)
    assert [event.answer for event in events if event.type == "final_answer"] == [text]
    assert "step_abandoned" not in kinds(events)
    assert [request.prefix for request in it.small.asked] == ["one two "]
    assert (it.large.going, it.small.going) == (0, 0)


async def test_who_watches_is_told_which_model_goes_on_and_why(tmp_path: Path) -> None:
    async with minded(tmp_path, pauses_after=2) as it:
        events = await it.killed()

    (changed,) = (event.model_change for event in events if event.type == "model_changed")
    assert (changed.from_model, changed.model) == ("large", "small")
    assert (changed.error.error_code, changed.error.domain) == (
        "ENGINE_FAILED",
        "inference.runplane.dev",
    )
    assert [each.code for each in events[-1].warnings] == ["MODEL_FALLBACK"]
    assert [event.metadata.model for event in (events[0], events[-1])] == ["large", "small"]


async def test_what_was_chosen_and_why_is_in_the_metadata_of_an_answer(tmp_path: Path) -> None:
    async with minded(tmp_path) as it:
        request = pb.InvokeRequest(query="Hello", tool_choice="none", request_class="tool_use")
        answer = await it.suite.stub.Invoke(request, timeout=10)

    routing = answer.metadata.routing
    assert (routing.route, routing.policy, routing.reason) == (
        "default",
        "pinned",
        "the first of its rule",
    )
    assert (routing.request_class, list(routing.models)) == ("tool_use", ["large", "small"])
    assert [request.priority for request in it.large.asked] == ["batch"]


async def test_where_the_next_model_cannot_go_on_the_step_begins_anew(tmp_path: Path) -> None:
    async with minded(tmp_path, pauses_after=2, facts={"can_continue": False}) as it:
        events = await it.killed()

    rest = events[kinds(events).index("step_abandoned") :]
    assert "".join(event.text for event in rest if event.type == "message_delta") == "".join(WORDS)
    assert [request.prefix for request in it.small.asked] == [""]


async def test_the_next_task_does_not_ask_a_model_that_died_a_moment_ago(tmp_path: Path) -> None:
    async with minded(tmp_path, pauses_after=2) as it:
        await it.killed()
        events = await it.ran()

    assert events[0].metadata.model == "small"
    assert events[0].metadata.routing.reason.startswith("large failed a moment ago")
    assert len(it.large.asked) == 1


async def test_a_second_call_speaks_for_a_silent_model_and_the_first_is_stopped(
    tmp_path: Path,
) -> None:
    async with minded(tmp_path) as it:
        it.small.pauses_after = 0
        events = await it.ran(model="careful")
        await it.small.stopped.wait()

    assert events[-1].status == "completed"
    assert events[-1].metadata.model == "large"
    assert [
        event.model_change.HasField("error") for event in events if event.model_change.model
    ] == [False]
    assert it.large.going == 0


async def test_a_task_whose_orchestrator_ends_keeps_the_model_it_fell_back_to(
    tmp_path: Path,
) -> None:
    kept = SHARED.model_copy(update={"event_store": f"sqlite:///{tmp_path}"})
    async with minded(tmp_path, pauses_after=1, shared=kept) as it:
        it.small.pauses_after = 2
        request = pb.InvokeRequest(query="Hello", tool_choice="none")
        task = await it.suite.stub.CreateTask(request, timeout=5)
        await it.large.waits.wait()
        it.large.kill()
        await it.small.waits.wait()

    async with minded(tmp_path, shared=kept) as it:
        watching = it.suite.stub.WatchTask(pb.WatchTaskRequest(task_id=task.task_id), timeout=15)
        events = [event async for event in watching]

    assert events[-1].status == "completed"
    assert kinds(events).count("model_changed") == 1
    assert [request.prefix for request in it.small.asked] == ["one two "]
    assert it.large.asked == []


async def test_fallbacks_and_replicas_are_measured(tmp_path: Path) -> None:
    async with minded(tmp_path, pauses_after=2) as it:
        await it.killed()
        page = await asyncio.to_thread(_page, it.suite.admin)

    assert 'runplane_orchestrator_fallbacks_total{reason="ENGINE_FAILED"} 1.0' in page
    assert 'runplane_orchestrator_hedges_total{winner="second"} 0.0' in page
    assert page.count("runplane_orchestrator_inference_tokens{") == 1


def _page(admin: str) -> str:
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=5) as reply:
        return str(reply.read().decode())


async def test_an_agent_may_run_on_a_route(tmp_path: Path) -> None:
    async with minded(tmp_path) as it:
        agent = agents_pb2.Agent(
            agent_id="helper", model="careful", tool_choice="none", request_class="short_answer"
        )
        await it.suite.agents.CreateAgent(agents_pb2.CreateAgentRequest(agent=agent), timeout=5)
        events = await it.suite.events("Hello", agent_id="helper")

    assert events[0].metadata.model == "small"
    assert events[0].metadata.routing.route == "careful"
    assert events[0].request.model == "small"


async def test_a_file_of_routes_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: [{name: a}]")

    with pytest.raises(FailedPrecondition) as caught:
        async with running(Settings(mark_key="11" * 32, server=LOOPBACK, routes=path), SHARED):
            pass

    assert caught.value.reason == "ROUTES_INVALID"
