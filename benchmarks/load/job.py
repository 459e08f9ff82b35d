"""What is asked of the load process."""

from dataclasses import dataclass, field
from typing import TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Report: TypeAlias = dict[str, JSON]


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of load. Which fields count depends on `kind`."""

    kind: str
    address: str = ""
    """`host:port` of the edge."""
    path: str = ""
    body: dict[str, JSON] | None = None
    """Posted as JSON; without it the request is a GET."""
    expect: str = ""
    """What every good answer contains."""
    callers: int = 1
    seconds: float = 1.0
    count: int = 0
    """How many times, where time does not decide."""
    target: str = ""
    """`host:port` of a service's gRPC port."""
    engine: str = "echo"
    headers: dict[str, str] = field(default_factory=dict)
    """Sent along with the request."""
    options: dict[str, JSON] = field(default_factory=dict)
