"""A session, and all that is asked in one: whoever has it needs nothing else of the SDK."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from services.tool_registry.adapters.mcp import calls, lists, reading
from services.tool_registry.adapters.mcp.faults import problem
from services.tool_registry.adapters.mcp.lost import Lost
from services.tool_registry.adapters.mcp.session import Session, check
from services.tool_registry.domain.server import Asking, Reply, Server, Suggestions
from services.tool_registry.domain.targets import Mcp
from services.tool_registry.domain.tool import Definition
from services.tool_registry.ports import Answer, Invocation

T = TypeVar("T")


class Conversation(Session):
    """What is asked of a server. All but `ask` raise as what they are named for."""

    async def ask(self, question: "Callable[[Conversation], Awaitable[T]]") -> T:
        """The answer to a question. Raises `Lost`; the connection broke."""
        try:
            return await question(self)
        except MCPError as error:
            raise Lost(problem(error)) from None

    async def call(self, target: Mcp, definition: Definition, invocation: Invocation) -> Answer:
        """Call a tool."""
        return await calls.call(self, target, definition, invocation)

    async def read(self, namespace: str, uri: str, asking: Asking) -> Reply:
        """Ask for a resource."""
        return await reading.read(self, namespace, uri, asking)

    async def prompt(
        self, namespace: str, name: str, arguments: Mapping[str, str], asking: Asking
    ) -> Reply:
        """Ask for a prompt."""
        return await reading.prompt(self, namespace, name, arguments, asking)

    async def complete(
        self,
        namespace: str,
        reference: Mapping[str, str],
        argument: tuple[str, str],
        context: Mapping[str, str],
    ) -> Suggestions:
        """Ask for values."""
        return await reading.complete(self, namespace, reference, argument, context)

    async def taken(self, server: Server) -> lists.Taken:
        """Take all lists. Raises `ProgramFailed` where that says more of what is wrong."""
        try:
            return await lists.taken(server, self)
        except (MCPError, ValidationError, TimeoutError):
            await self.blame()
            raise

    async def blame(self) -> None:
        """Raises `ProgramFailed` if the server is a program that has ended."""
        if self.program is not None and self.program.ended.is_set():
            await self.program.settled()
            check(self.program, self.dispatch.scrub)
