"""What is true of a tool at the moment, and here."""

from collections.abc import Collection
from dataclasses import dataclass

from services.tool_registry.domain.circuit import State
from services.tool_registry.usecases.circuits import Circuits


@dataclass(frozen=True, slots=True)
class Standing:
    """What this process knows of tools, beside what was registered."""

    circuits: Circuits
    approval: Collection[str]
    """Names of tools whose calls by agents need one, whoever registered them."""

    def circuit(self, tenant: str, name: str, version: str) -> State:
        """Whether calls are let through."""
        return self.circuits.state(tenant, name, version)

    def trouble(self, tenant: str, name: str, version: str) -> str:
        """Why calls would fail; empty if they need not."""
        return self.circuits.trouble(tenant, name, version)

    def requires_approval(self, name: str) -> bool:
        """Whether calls by agents need one here."""
        return name in self.approval
