"""Has one suite know the tools, agents and workflow definitions of another, over HTTP.

    python examples/carry_over.py http://127.0.0.1:8080 http://127.0.0.1:8090

Of each the newest version; in the new suite it is the first. What is there already is left alone.
Tools that an OpenAPI import or an MCP server brought are left out: as tools of their own they would
keep it from bringing them again.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

KINDS = {"tools": "name", "agents": "agent_id", "definitions": "name"}
"""The collections of the API, and what their members are called by."""
BUILT_IN = "TOOL_KIND_BUILTIN"


def ask(url: str, body: object = None) -> dict[str, Any]:
    """What the edge answers."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"content-type": "application/json"})  # noqa: S310 - as given
    with urlopen(request, timeout=30) as reply:  # noqa: S310
        answer: dict[str, Any] = json.load(reply)
        return answer


def listed(suite: str, kind: str) -> Iterator[str]:
    """The names of all there are, but those that every suite has, or that something else brings."""
    token = ""
    while True:
        page = ask(f"{suite}/v1/{kind}?page_size=1000&page_token={token}")
        for each in page[kind]:
            if each.get("kind") != BUILT_IN and not each.get("source"):
                yield each[KINDS[kind]]
        if not (token := page.get("next_page_token")):
            return


def carry(old: str, new: str, kind: str, name: str) -> str:
    """What became of it."""
    found = ask(f"{old}/v1/{kind}/{name}")
    body = {"definition": found["definition"]} if kind == "definitions" else found
    try:
        ask(f"{new}/v1/{kind}", body)
    except HTTPError as error:
        return str(json.load(error)["message"])
    return "carried over"


def main() -> None:
    """Carry all over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", help="the edge of the suite that has them")
    parser.add_argument("new", help="the edge of the suite that is to have them")
    chosen = parser.parse_args()
    for kind in KINDS:
        for name in listed(chosen.old, kind):
            said = carry(chosen.old, chosen.new, kind, name)
            sys.stdout.write(f"{kind} {name}: {said}\n")


if __name__ == "__main__":
    main()
