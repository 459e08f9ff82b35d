"""What the use cases need."""

from collections.abc import Mapping
from typing import Protocol

from services.tool_registry.domain.tool import Definition


class Tool(Protocol):
    """Something that can be called, wherever it runs.

    One contract suite holds for all of them: `tests/contract/tool_registry`.
    """

    @property
    def definition(self) -> Definition:
        """Its contract. The same object each time."""

    async def call(self, arguments: Mapping[str, object]) -> object:
        """Do it once, and return what the output schema describes.

        `arguments` satisfy the input schema and are not changed. Cancelling stops the work. It
        never keeps the event loop for long.

        Raises:
            ToolFailure: it cannot be done.
            ServiceError: what the tool needs is not there; callers may try again.
        """
