"""What tasks come to: counted as their events are stored, from what a task was and is."""

from collections.abc import Sequence

from services.chassis.exemplars import example
from services.chassis.histograms import SIZES, Histogram, Tally
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import State, Task


class Measures:
    """Of the tasks that this process runs."""

    def __init__(self) -> None:
        self.states = Tally(
            "runplane_orchestrator_task_states", "Tasks that came to a state.", ["state"]
        )
        for state in State:
            self.states.add(0, state.value)
        self.stays = Histogram(
            "runplane_orchestrator_task_state_duration_seconds",
            "How long tasks were in a state, counted as they leave it.",
            ["state"],
        )
        self.durations = Histogram(
            "gen_ai_invoke_agent_duration_seconds",
            "What tasks took from their creation to their end.",
            ["state"],
        )
        self.steps = Histogram(
            "gen_ai_invoke_agent_inference_calls",
            "Turns of models that ended tasks took.",
            ["state"],
            SIZES,
        )
        self.calls = Histogram(
            "gen_ai_invoke_agent_tool_calls", "Calls of tools that they made.", ["state"], SIZES
        )
        self.tools = Tally(
            "runplane_orchestrator_tool_results", "What tools came back with.", ["outcome"]
        )
        self.spent = Tally("runplane_orchestrator_tokens", "Tokens that tasks used.", [])
        self.cost = Tally("runplane_orchestrator_cost_usd", "What they cost, in US dollars.", [])
        for tally in (self.spent, self.cost):
            tally.add(0)
        for outcome in ("success", "error"):
            self.tools.add(0, outcome)

    def all(self) -> tuple[Histogram | Tally, ...]:
        """All of them."""
        return (
            *(self.states, self.stays, self.durations, self.steps, self.calls),
            *(self.tools, self.spent, self.cost),
        )

    def appended(self, before: Task | None, after: Task, events: Sequence[ev.Event]) -> None:
        """Count what a task's new events changed."""
        if before is None or before.state is not after.state:
            self.states.add(1, after.state.value)
            if before is not None:
                stay = max(0.0, (after.since - before.since).total_seconds())
                self.stays.observe(stay, before.state.value, trace_id=example())
            if after.is_closed:
                self._ended(after)
        self.spent.add(after.tokens - (before.tokens if before else 0))
        self.cost.add(after.cost_usd - (before.cost_usd if before else 0.0))
        for event in events:
            if isinstance(event, ev.ToolReturned):
                self.tools.add(1, "error" if event.failure else "success")

    def _ended(self, task: Task) -> None:
        state = task.state.value
        seconds = max(0.0, (task.update_time - task.create_time).total_seconds())
        self.durations.observe(seconds, state, trace_id=example())
        self.steps.observe(len(task.steps) + 1, state)
        self.calls.observe(sum(len(step.calls) for step in task.steps), state)
