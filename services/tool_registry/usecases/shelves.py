"""Where tools are, ready to be called."""

from collections.abc import Sequence

from services.tool_registry.domain import names
from services.tool_registry.ports import Tool


class Builtins:
    """The tools that every tenant has."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        """Raises InvalidArgument `INVALID_REQUEST` for a tool that could not be called so."""
        for tool in tools:
            names.check_new(tool.entry.definition.name)
        by_name = {tool.entry.definition.name: tool for tool in tools}
        self._tools = {name: by_name[name] for name in sorted(by_name)}

    def list(self, *, after: str, size: int) -> tuple[Sequence[Tool], bool]:
        """The next `size` tools by name, and whether there are more."""
        rest = [tool for name, tool in self._tools.items() if name > after]
        return rest[:size], len(rest) > size

    def get(self, name: str) -> Tool:
        """One tool.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; that is no tool's name.
            NotFound: `TOOL_NOT_FOUND`.
        """
        names.check(name)
        if (tool := self._tools.get(name)) is None:
            raise names.missing(name, self._tools)
        return tool

    async def find(self, tenant: str, name: str, version: str = "") -> Tool:
        """See `Shelf`."""
        return self.get(name)
