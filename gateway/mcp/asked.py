"""What a message asks for, before the SDK has looked at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mcp_types import LOG_LEVEL_META_KEY

from gateway.mcp.offers import agent_of
from gateway.shapes import JSON

LISTEN: Final = "subscriptions/listen"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a message asks for, as far as it is a request."""

    message: JSON
    method: object
    name: str
    """The tool, if it is one that is to be called."""
    meta: Mapping[str, JSON]

    @property
    def hears(self) -> bool:
        """Whether its client wants to hear something before the result."""
        is_told = "progressToken" in self.meta or LOG_LEVEL_META_KEY in self.meta
        return is_told or self.method == LISTEN or bool(agent_of(self.name))


def asked_of(message: JSON) -> Asked:
    """What this one does."""
    said = _object(message)
    params = _object(said.get("params"))
    name = params.get("name")
    meta = _object(params.get("_meta"))
    return Asked(message, said.get("method"), name if isinstance(name, str) else "", meta)


def _object(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, dict) else {}
