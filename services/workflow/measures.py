"""What workflows come to: counted as their events are stored. Pure."""

from services.chassis.histograms import Histogram, Tally
from services.workflow.domain.instance import Instance, Phase


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
        self.appends = Histogram(
            "runplane_workflow_append_duration_seconds",
            "How long events of workflows were on their way to the event store.",
        )
        self.appends.of()

    def all(self) -> tuple[Histogram | Tally, ...]:
        """All of them."""
        return (self.transitions, self.phases, self.appends)

    def appended(self, before: Instance | None, after: Instance, took: float) -> None:
        """Count what a workflow's new events changed."""
        self.appends.observe(took)
        if before is not None and before.state != after.state:
            self.transitions.add(1)
        if before is None or before.phase is not after.phase:
            self.phases.add(1, after.phase.value)
