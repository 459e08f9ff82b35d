"""Which task, workflow or batch the work under way is about: every log line of it says so."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

concerning: ContextVar[Mapping[str, str]] = ContextVar("runplane_concerning", default=_NOTHING)
"""Names of ids with their values, such as `task_id`."""
