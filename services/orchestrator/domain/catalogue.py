"""Which tools of a tenant an agent gets that names none. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.orchestrator.domain.events import Pinned
from services.orchestrator.domain.tool import Tool

MOST_OFFERED: Final = 64


@dataclass(frozen=True, slots=True)
class Catalogue:
    """As much as is known of a tenant's tools without asking for one by its name."""

    names: Sequence[str]
    """Some of those that are not deprecated: the first ones."""
    offered: Mapping[str, Tool]
    """What a task gets that names none: all that are not deprecated; the built-in ones alone where
    these are too many for a model to choose from."""
    pinned: Pinned
    """The same, as the log has it."""


def catalogue(tools: Iterable[Tool]) -> Catalogue:
    """That of these tools: all there are, or more than are offered and the built-in ones."""
    active = {tool.name: tool for tool in tools if not tool.is_deprecated}
    offered = active
    if len(active) > MOST_OFFERED:
        offered = {name: tool for name, tool in active.items() if tool.is_builtin}
    return Catalogue(sorted(active), offered, pinned(offered.values(), len(active) - len(offered)))


def not_offered(pinned: Pinned) -> str:
    """That there were too many tools to offer them all."""
    count = pinned.left_out + len(pinned.versions)
    return (
        f"of {count} tools or more only the built-in ones are offered, as the task names none: more"
        f" than {MOST_OFFERED} are too many to choose from; name those it needs in tools"
    )


def pinned(tools: Iterable[Tool], left_out: int = 0) -> Pinned:
    """The versions of these tools; agents have none."""
    versions = tuple((tool.name, tool.version) for tool in tools if not tool.agent_id)
    return Pinned(versions, left_out)
