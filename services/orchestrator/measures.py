"""What tasks come to: counted as their events are stored, from what a task was and is. Pure."""

from collections.abc import Sequence

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
        self.tools = Tally(
            "runplane_orchestrator_tool_results", "What tools came back with.", ["outcome"]
        )
        self.appends = Histogram(
            "runplane_orchestrator_append_duration_seconds",
            "How long events of tasks were on their way to the event store.",
        )
        self.appends.of()
        self.spent = Tally("runplane_orchestrator_tokens", "Tokens that tasks used.", [])
        self.cost = Tally("runplane_orchestrator_cost_usd", "What they cost, in US dollars.", [])
        for tally in (self.spent, self.cost):
            tally.add(0)
        for outcome in ("success", "error"):
            self.tools.add(0, outcome)

    def all(self) -> tuple[Histogram | Tally, ...]:
        """All of them."""
        return (
            *(self.states, self.durations, self.steps, self.tools),
            *(self.appends, self.spent, self.cost),
        )

    def appended(
        self, before: Task | None, after: Task, events: Sequence[ev.Event], took: float
    ) -> None:
        """Count what a task's new events changed."""
        self.appends.observe(took)
        if before is None or before.state is not after.state:
            self.states.add(1, after.state.value)
            if after.is_closed:
                seconds = (after.update_time - after.create_time).total_seconds()
                trace_id = after.spec.trace_id
                self.durations.observe(seconds, after.state.value, trace_id=trace_id)
                self.steps.observe(len(after.steps) + 1, after.state.value)
        self.spent.add(after.tokens - (before.tokens if before else 0))
        self.cost.add(after.cost_usd - (before.cost_usd if before else 0.0))
        for event in events:
            if isinstance(event, ev.ToolReturned):
                self.tools.add(1, "error" if event.failure else "success")
