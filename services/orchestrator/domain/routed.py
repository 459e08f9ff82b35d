"""How a task's model was chosen, as its log keeps it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Routed:
    """What a route chose when the task was accepted. It never changes."""

    route: str
    request_class: str
    policy: str
    reason: str
    """Why this model, for people."""
    models: tuple[str, ...]
    """The one that was chosen, then those that go on where it cannot, in their order."""
    priority: str = ""
    """Of its turns at the inference service; empty for the usual one."""
    hedge_after_ms: float | None = None
    """After how much silence a second call is made; None for none."""
    patience_ms: float | None = None
    """How long a model may be silent where another can go on; None for as long as time allows."""
