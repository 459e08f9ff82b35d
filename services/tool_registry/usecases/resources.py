"""What callers can do with what MCP servers have beside tools."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from services.chassis.errors import InvalidArgument, NotFound, Violation, invalid
from services.tool_registry.domain.server import (
    Asking,
    Item,
    Lists,
    Reference,
    Reply,
    Server,
    State,
    Suggestions,
    check_namespace,
    missing,
)
from services.tool_registry.ports import Links

SERVER: Final = "dev.runplane/server"
"""In `_meta` of what is listed: the server's namespace."""
_MAX_URI: Final = 2048
_MAX_ARGUMENTS: Final = 64
_MAX_VALUE: Final = 64 * 1024

_Found = tuple[Server, Item]


class Resources:
    """Resources, templates and prompts of all servers of a tenant, as one list each."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def resources(self, tenant: str, *, after: str, size: int) -> list[Item]:
        """A page by URI."""
        return _page(_resources(await self._links.lists(tenant)), after, size)

    async def templates(self, tenant: str, *, after: str, size: int) -> list[Item]:
        """A page by URI template."""
        return _page(_templates(await self._links.lists(tenant)), after, size)

    async def prompts(self, tenant: str, *, after: str, size: int) -> list[Item]:
        """A page by name."""
        return _page(_prompts(await self._links.lists(tenant)), after, size)

    async def read(self, tenant: str, uri: str, server: str, asking: Asking) -> Reply:
        """What a resource holds."""
        if not 0 < len(uri) <= _MAX_URI:
            fix = f"send the URI of a resource, at most {_MAX_URI} characters"
            raise invalid(Violation("uri", "is not a URI", fix))
        namespace = await self._server_of(tenant, uri, server)
        return await self._links.read(tenant, namespace, uri, asking)

    async def prompt(
        self, tenant: str, name: str, arguments: Mapping[str, str], asking: Asking
    ) -> Reply:
        """A prompt, filled in."""
        server, prompt = await self._prompt(tenant, name)
        _check_arguments(name, prompt, arguments)
        own = str(prompt["name"])
        return await self._links.prompt(tenant, server.namespace, own, arguments, asking)

    async def complete(
        self,
        tenant: str,
        reference: Reference,
        argument: tuple[str, str],
        context: Mapping[str, str],
    ) -> Suggestions:
        """Values for an argument."""
        _check_sizes("context", {**context, argument[0]: argument[1]})
        if reference.prompt:
            server, prompt = await self._prompt(tenant, reference.prompt)
            asked = {"type": "ref/prompt", "name": str(prompt["name"])}
        else:
            server = await self._with_template(tenant, reference.template)
            asked = {"type": "ref/resource", "uri": reference.template}
        return await self._links.complete(tenant, server.namespace, asked, argument, context)

    async def _server_of(self, tenant: str, uri: str, server: str) -> str:
        lists = await self._links.lists(tenant)
        if server:
            check_namespace(server)
            if server not in lists:
                raise missing(server)
            return server
        found = [name for name, (_, listed) in lists.items() if uri in listed.resources]
        if (fitting := await self._links.matching(tenant, uri)) is not None:
            found.append(fitting)
        if not found:
            raise _not_found(uri)
        return min(found, key=lambda name: not self._is_connected(tenant, name))  # Or the first.

    def _is_connected(self, tenant: str, namespace: str) -> bool:
        return self._links.seen(tenant, namespace).state is State.CONNECTED

    async def _with_template(self, tenant: str, template: str) -> Server:
        for server, listed in (await self._links.lists(tenant)).values():
            if template in listed.templates:
                return server
        raise _not_found(template)

    async def _prompt(self, tenant: str, name: str) -> _Found:
        if (found := _prompts(await self._links.lists(tenant), own=True).get(name)) is None:
            raise NotFound(
                "PROMPT_NOT_FOUND",
                f"there is no prompt {name[:128]}",
                prompt=name[:128],
                field="name",
                suggested_fix="list the prompts",
            )
        return found


def shadowed(lists: Mapping[str, tuple[Server, Lists]], namespace: str) -> Iterator[str]:
    """Prompts of a server that nobody gets, since another's has the name."""
    found = _prompts(lists)
    if namespace not in lists:
        return
    server, listed = lists[namespace]
    for name in listed.prompts:
        holder = found[server.named(name)][0].namespace
        if holder != namespace:
            yield f"prompt {name}: the server {holder} has one of this name"


def _resources(lists: Mapping[str, tuple[Server, Lists]]) -> Mapping[str, _Found]:
    return _first((server, listed.resources) for server, listed in lists.values())


def _templates(lists: Mapping[str, tuple[Server, Lists]]) -> Mapping[str, _Found]:
    return _first((server, listed.templates) for server, listed in lists.values())


def _prompts(
    lists: Mapping[str, tuple[Server, Lists]], *, own: bool = False
) -> Mapping[str, _Found]:
    """By the names they have here; `own`: with the server's own name within."""
    return _first(
        (
            server,
            {
                server.named(name): prompt if own else {**prompt, "name": server.named(name)}
                for name, prompt in listed.prompts.items()
            },
        )
        for server, listed in lists.values()
    )


def _first(parts: Iterable[tuple[Server, Mapping[str, Item]]]) -> Mapping[str, _Found]:
    """The first server's, where several have one of the same name."""
    found: dict[str, _Found] = {}
    for server, items in parts:
        for name, item in items.items():
            found.setdefault(name, (server, item))
    return found


def _page(found: Mapping[str, _Found], after: str, size: int) -> list[Item]:
    names = sorted(name for name in found if name > after)
    return [_marked(*found[name]) for name in names[:size]]


def _marked(server: Server, item: Item) -> Item:
    meta = item.get("_meta")
    known = meta if isinstance(meta, Mapping) else {}
    return {**item, "_meta": {**known, SERVER: server.namespace}}


def _check_arguments(name: str, prompt: Item, arguments: Mapping[str, str]) -> None:
    _check_sizes("arguments", arguments)
    declared = prompt.get("arguments")
    known = declared if isinstance(declared, Sequence) else ()
    for each in known:
        if each.get("required") and each["name"] not in arguments:
            wanted = str(each["name"])
            raise InvalidArgument(
                "PROMPT_ARGUMENTS_INVALID",
                f"the prompt {name[:128]} needs the argument {wanted[:128]}",
                prompt=name[:128],
                field=f"arguments.{wanted[:128]}",
                suggested_fix="send it",
            )


def _check_sizes(field: str, arguments: Mapping[str, str]) -> None:
    if len(arguments) > _MAX_ARGUMENTS or sum(map(len, arguments.values())) > _MAX_VALUE:
        fix = f"send at most {_MAX_ARGUMENTS}, with {_MAX_VALUE:,} characters in all"
        raise invalid(Violation(field, "are too large", fix))


def _not_found(uri: str) -> NotFound:
    return NotFound(
        "RESOURCE_NOT_FOUND",
        f"no MCP server has {uri[:256]}",
        uri=uri[:256],
        field="uri",
        suggested_fix="list the resources, or name the server that has it",
    )
