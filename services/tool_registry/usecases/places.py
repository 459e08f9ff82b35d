"""Places for calls under way: so many for a tool, for a tenant, and in all."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, TypeAlias

from services.chassis.errors import ResourceExhausted, ServiceError
from services.tool_registry.domain.fault import LIMIT, OF_TOOL

_Key: TypeAlias = tuple[str, ...]
GiveBack: TypeAlias = Callable[..., None]
"""Called once, with whatever."""

_TOLD: Final = {
    OF_TOOL: "too many calls of {name} are under way",
    "tenant": "too many calls of this tenant's are under way",
    "service": "too many calls are under way",
}


class Places:
    """Counts calls. Nobody waits for a place: who finds none is told when to come back."""

    def __init__(self, *, total: int, of_tenant: int, retry_after: timedelta) -> None:
        self._total = total
        self._of_tenant = of_tenant
        self._retry_after = retry_after
        self._taken: dict[_Key, int] = {}

    def take(self, tenant: str, name: str, of_tool: int) -> GiveBack:
        """Take a place, and return what gives it back. `of_tool` is how many the tool has.

        Raises:
            ResourceExhausted: `TOOLS_OVERLOADED`, with when to come back.
        """
        keys, taken = ((tenant, name), (tenant,), ()), self._taken
        counts = [taken.get(key, 0) for key in keys]
        limits = (of_tool, self._of_tenant, self._total)
        for count, most, limit in zip(counts, limits, _TOLD, strict=True):
            if count >= most:
                raise self._refusal(name, limit, most)
        for key, count in zip(keys, counts, strict=True):
            taken[key] = count + 1
        return partial(self._give_back, keys)

    def _give_back(self, keys: Sequence[_Key], _: object = None) -> None:
        taken = self._taken
        for key in keys:
            if taken[key] > 1:
                taken[key] -= 1
            else:
                del taken[key]

    def _refusal(self, name: str, limit: str, most: int) -> ServiceError:
        message = f"{_TOLD[limit].format(name=name)}: at most {most} at a time; try later"
        facts = {LIMIT: limit, "most": str(most)}
        return ResourceExhausted("TOOLS_OVERLOADED", message, tool=name, **facts).after(
            self._retry_after
        )
