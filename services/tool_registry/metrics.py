"""What the tool registry measures beside its calls, and its names."""

from services.chassis.metrics import Figure
from services.tool_registry.usecases.circuits import Circuits


def of_circuits(circuits: Circuits) -> list[Figure]:
    """Which tools are not worth trying."""
    return [
        Figure(
            "runplane_tool_registry_circuits",
            "Tools whose calls are refused for a while (open), or that are tried again "
            "(half_open).",
            circuits.counts,
            label="state",
        )
    ]
