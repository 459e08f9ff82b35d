"""MCP servers: what is kept of one, and what may be kept."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final
from urllib.parse import urlsplit

from services.chassis.errors import NotFound, ServiceError, Unavailable, Violation, invalid
from services.tool_registry.domain.names import MAX_TAGS, NAMESPACE, SECRET, TAG

MAX_SERVERS: Final = 64
"""Of a tenant."""
MAX_SKIPPED: Final = 20
DEFAULT_TIMEOUT: Final = timedelta(seconds=60)
MAX_TIMEOUT: Final = timedelta(hours=1)

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_MAX_PARTS: Final = 64
_MAX_TEXT: Final = 4096
_NAMESPACES: Final = "use 1 to 32 of A-Z a-z 0-9 -; not agent, which has tools of its own"


class State(Enum):
    """Whether a server can be reached."""

    CONNECTING = auto()
    CONNECTED = auto()
    UNAVAILABLE = auto()


@dataclass(frozen=True, slots=True)
class Command:
    """A program that speaks MCP over its standard input and output."""

    program: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Mapping[str, str] = field(default_factory=dict)
    """Names of secrets, by the variables that get their values."""


@dataclass(frozen=True, slots=True)
class Server:
    """A registration."""

    namespace: str
    url: str = ""
    """Empty where there is a command."""
    command: Command | None = None
    secret: str = ""
    keeps_names: bool = False
    tags: tuple[str, ...] = ()
    requires_approval: bool = False
    timeout: timedelta = DEFAULT_TIMEOUT
    owner: str = ""
    create_time: datetime | None = None

    def named(self, name: str) -> str:
        """What a tool or a prompt of it is called here."""
        return name if self.keeps_names else f"{self.namespace}__{name}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process sees of a server."""

    state: State = State.CONNECTING
    problem: str = ""
    protocol_version: str = ""
    name: str = ""
    version: str = ""
    tool_count: int = 0
    skipped: tuple[str, ...] = ()
    refresh_time: datetime | None = None


Item = Mapping[str, object]
"""A resource, a template or a prompt as MCP has it."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What a server has beside tools, as it said last."""

    resources: Mapping[str, Item] = field(default_factory=dict)
    """By URI."""
    templates: Mapping[str, Item] = field(default_factory=dict)
    """By URI template."""
    prompts: Mapping[str, Item] = field(default_factory=dict)
    """By the server's own name."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What goes along with a request that the server may answer with questions."""

    responses: Mapping[str, object] = field(default_factory=dict)
    """Answers to what it asked before, by name."""
    state: str = ""
    """What it asked to be given back."""
    capabilities: Mapping[str, object] | None = None
    """What the caller can be asked for, as MCP client capabilities; None: nothing."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: a result, or questions."""

    result: Item = field(default_factory=dict)
    questions: Item | None = None
    """Input requests as MCP has them, by name."""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """What is completed: an argument of a prompt, or a variable of a template."""

    prompt: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Values that an argument may have."""

    values: tuple[str, ...]
    total: int | None = None
    has_more: bool = False


def check_namespace(namespace: str) -> None:
    """Refuse what is no namespace. Raises InvalidArgument `INVALID_REQUEST`."""
    if not NAMESPACE.fullmatch(namespace):
        raise invalid(Violation("namespace", "is not a namespace", _NAMESPACES))


def check(server: Server) -> None:
    """Refuse a server that cannot be kept. Raises InvalidArgument `INVALID_REQUEST`."""
    if found := list(_violations(server)):
        raise invalid(*found)


def missing(namespace: str) -> NotFound:
    """That there is no such server."""
    return NotFound(
        "MCP_SERVER_NOT_FOUND",
        f"there is no MCP server {namespace[:64]}",
        namespace=namespace[:64],
        field="namespace",
        suggested_fix="list the servers, or register it",
    )


def unavailable(namespace: str, problem: str, *, reason: str) -> ServiceError:
    """That a server cannot be asked at the moment."""
    return Unavailable(
        reason,
        f"the MCP server {namespace} cannot be reached: {problem or 'it is being tried'}",
        namespace=namespace,
        problem=problem,
        suggested_fix="try again later; the server's problem says what to mend",
    ).after(timedelta(seconds=1))


def _violations(server: Server) -> Iterator[Violation]:
    if not NAMESPACE.fullmatch(server.namespace):
        yield Violation("server.namespace", "is not a namespace", _NAMESPACES)
    if server.command is None:
        yield from _url_violations(server)
    else:
        yield from _command_violations(server.command)
        if server.secret:
            fix = "name it in command.secret_environment"
            yield Violation("server.secret", "is for servers with a url", fix)
    yield from _other_violations(server)


def _url_violations(server: Server) -> Iterator[Violation]:
    fix = "send an absolute http or https URL, such as https://mcp.example/mcp, or a command"
    try:
        parts = urlsplit(server.url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_bare = parts.username is None and not parts.fragment
    except ValueError:
        is_url = is_bare = False
    if not is_url or len(server.url) > 2048 or not server.url.isprintable() or " " in server.url:
        yield Violation("server.url", "is not a URL of a server", fix)
    elif not is_bare:
        fix = "leave user, password and fragment out; name a secret instead"
        yield Violation("server.url", "has parts that are not sent", fix)
    if server.secret and not SECRET.fullmatch(server.secret):
        fix = "use 1 to 64 of A-Z a-z 0-9 _ . -"
        yield Violation("server.secret", "is not a secret's name", fix)


def _command_violations(command: Command) -> Iterator[Violation]:
    if not command.program or not _is_text(command.program):
        fix = f"send a program's name or path, at most {_MAX_TEXT} characters"
        yield Violation("server.command.program", "is not a program", fix)
    many = f"send at most {_MAX_PARTS}, each of at most {_MAX_TEXT} characters"
    if len(command.arguments) > _MAX_PARTS or not all(map(_is_text, command.arguments)):
        yield Violation("server.command.arguments", "are too many or too long", many)
    for name, variables in (
        ("environment", command.environment),
        ("secret_environment", command.secret_environment),
    ):
        if len(variables) > _MAX_PARTS or not all(map(_is_text, variables.values())):
            yield Violation(f"server.command.{name}", "is too large", many)
        if not all(map(_VARIABLE.fullmatch, variables)):
            fix = "name variables with A-Z a-z 0-9 _"
            yield Violation(f"server.command.{name}", "has names that are none", fix)
    if not all(map(SECRET.fullmatch, command.secret_environment.values())):
        fix = "send names of secrets: 1 to 64 of A-Z a-z 0-9 _ . -"
        yield Violation("server.command.secret_environment", "names what is no secret", fix)


def _other_violations(server: Server) -> Iterator[Violation]:
    is_long = len(server.tags) > MAX_TAGS or len(set(server.tags)) < len(server.tags)
    if is_long or not all(map(TAG.fullmatch, server.tags)):
        fix = f"send at most {MAX_TAGS} words such as weather, in lower case, each once"
        yield Violation("server.tags", "are not tags", fix)
    if not timedelta(milliseconds=1) <= server.timeout <= MAX_TIMEOUT:
        fix = "send 1 to 3,600,000, or leave it out for 60,000"
        yield Violation("server.timeout_ms", "is not a time to wait", fix)


def _is_text(text: str) -> bool:
    return len(text) <= _MAX_TEXT and "\0" not in text
