"""What workflows come to: counted as their events are stored."""

from typing import Final

from services.chassis.exemplars import example
from services.chassis.histograms import SECONDS, Histogram, Tally
from services.workflow.domain.instance import Instance, Phase

DURATIONS: Final = (*SECONDS, 1800.0, 3600.0, 14_400.0, 86_400.0, 604_800.0)
"""People take their time with what they approve."""


class Measures:
    """Of the workflows that this process writes."""

    def __init__(self) -> None:
        self.transitions = Tally(
            "runplane_workflow_transitions", "Times that workflows came to another state.", []
        )
        self.transitions.add(0)
        self.phases = Tally(
            "runplane_workflow_phases", "Workflows that came to a phase, or ended.", ["phase"]
        )
        for phase in Phase:
            self.phases.add(0, phase.value)
        self.durations = Histogram(
            "gen_ai_invoke_workflow_duration_seconds",
            "What workflows took from their start to their end; one that is compensated after that "
            "counts again, from its start to the end of its compensation.",
            ["gen_ai_workflow_name", "phase"],
            DURATIONS,
        )

    def all(self) -> tuple[Histogram | Tally, ...]:
        """All of them."""
        return (self.transitions, self.phases, self.durations)

    def appended(self, before: Instance | None, after: Instance) -> None:
        """Count what a workflow's new events changed."""
        if before is not None and before.state != after.state:
            self.transitions.add(1)
        if before is not None and before.phase is after.phase:
            return
        self.phases.add(1, after.phase.value)
        if after.is_closed:
            seconds = max(0.0, (after.update_time - after.create_time).total_seconds())
            labels = (after.spec.definition, after.phase.value)
            self.durations.observe(seconds, *labels, trace_id=example())
