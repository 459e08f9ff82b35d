"""What calls of tools take: counted as they end."""

from services.chassis.exemplars import example
from services.chassis.histograms import Histogram


class Measures:
    """By tool; calls of names that no tool has are none."""

    def __init__(self) -> None:
        self.calls = Histogram(
            "gen_ai_execute_tool_duration_seconds",
            "What calls of tools took, by how they ended.",
            ["gen_ai_tool_name", "outcome"],
        )

    def called(self, tool: str, outcome: str, took: float) -> None:
        """Count a call of a tool that there is."""
        self.calls.observe(took, tool, outcome, trace_id=example())
