"""The tools that the example workflows call: a shop and a library, or what acts like them.

    python examples/workflows/server.py --register http://127.0.0.1:8080

serves them on http://127.0.0.1:9100 and registers them, and an agent that reviews, with the suite
that is there. Each does its work once for an idempotency key, however often it is called, and says
the same again: that is all that a tool has to do for a workflow to be undone and resumed rightly.

    curl -X PUT http://127.0.0.1:9100/broken/charge_card      it refuses from now on
    curl -X DELETE http://127.0.0.1:9100/broken/charge_card   it does its work again
    curl http://127.0.0.1:9100/journal                        what was done, in its order
"""

import argparse
import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

TOOLS: Final[Mapping[str, tuple[str, tuple[str, ...], str]]] = {
    "reserve_stock": ("Reserve what is ordered.", ("order_id", "items"), "reservation_id"),
    "release_stock": ("Release what was reserved.", ("reservation_id",), "released"),
    "charge_card": ("Charge a card for an order.", ("order_id", "card", "items"), "payment_id"),
    "refund_card": ("Give the money of a payment back.", ("payment_id", "reason"), "refunded"),
    "ship_parcel": ("Ship what was reserved.", ("order_id", "reservation_id"), "tracking"),
    "recall_parcel": ("Call a parcel back.", ("tracking",), "recalled"),
    "publish_document": ("Publish a document.", ("doc_id", "note"), "url"),
    "unpublish_document": ("Take a document back.", ("url",), "unpublished"),
    "index_document": ("Put a document into the index.", ("url",), "indexed"),
}
"""By name: what it does, what it is given, and what it answers with."""
NUMBERED: Final = {"reservation_id": "res", "payment_id": "pay", "tracking": "trk", "url": "doc"}
"""Answers that are names of what was made."""
REVIEWER: Final = {"agent_id": "reviewer", "instructions": "You review documents, in one sentence."}


class Shop:
    """What was done, by idempotency key."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.journal: list[dict[str, Any]] = []
        self._answers: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def do(self, name: str, given: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Do it, or say again what came of it."""
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            self.journal.append({"tool": name, "input": given, "idempotency_key": key})
            field, number = TOOLS[name][2], len(self.journal)
            made = f"{NUMBERED[field]}_{number}" if field in NUMBERED else True
            return self._answers.setdefault(key or f"call {number}", {field: made})


class Handler(BaseHTTPRequestHandler):
    """`POST /tools/NAME`, `PUT` and `DELETE /broken/NAME`, `GET /journal`."""

    shop = Shop()

    def do_POST(self) -> None:
        """One call of a tool."""
        name = self.path.removeprefix("/tools/")
        length = int(self.headers.get("content-length") or 0)
        given = json.loads(self.rfile.read(length) or b"{}")
        if name not in TOOLS:
            self._answer(404, {"error": f"there is no tool {name}"})
        elif name in self.shop.broken:
            self._answer(422, {"error": f"{name} does not do that today"})
        else:
            self._answer(200, self.shop.do(name, given, self.headers.get("idempotency-key", "")))

    def do_PUT(self) -> None:
        """Let a tool refuse."""
        name = self.path.removeprefix("/broken/")
        if name not in TOOLS:
            self._answer(404, {"error": f"there is no tool {name}; there are {', '.join(TOOLS)}"})
            return
        self.shop.broken.add(name)
        self._answer(200, {"broken": sorted(self.shop.broken)})

    def do_DELETE(self) -> None:
        """Let it do its work again."""
        self.shop.broken.discard(self.path.removeprefix("/broken/"))
        self._answer(200, {"broken": sorted(self.shop.broken)})

    def do_GET(self) -> None:
        """What was done."""
        self._answer(200, {"journal": self.shop.journal})

    def log_message(self, *said: object) -> None:
        """Keep quiet: the journal says it."""

    def _answer(self, status: int, said: Mapping[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def register(suite: str, port: int) -> None:
    """Make the tools and the agent known to a suite, where they are not."""
    for name, (about, fields, answer) in TOOLS.items():
        tool = {
            "name": name,
            "description": about,
            "is_idempotent": True,
            "input_schema": {"type": "object", "required": list(fields)},
            "output_schema": {"type": "object", "required": [answer]},
            "http": {"method": "POST", "url": f"http://127.0.0.1:{port}/tools/{name}"},
        }
        _post(f"{suite}/v1/tools", tool)
    _post(f"{suite}/v1/agents", REVIEWER)


def _post(url: str, body: Mapping[str, Any]) -> None:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - ours
            reply.read()
    except urllib.error.HTTPError as error:
        if error.code != 409:  # It is there already.
            raise SystemExit(f"{url}: {error.read().decode()}") from None
    except urllib.error.URLError as error:
        said = f"no suite answers at {url} ({error.reason}): start one, or name it by --register"
        raise SystemExit(said) from None


def main() -> None:
    """Serve until the process ends."""
    parser = argparse.ArgumentParser(description="The tools that the example workflows call.")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--register", metavar="URL", help="the suite that is to know them")
    chosen = parser.parse_args()
    try:
        server = ThreadingHTTPServer(("127.0.0.1", chosen.port), Handler)
    except OSError as error:
        raise SystemExit(f"port {chosen.port}: {error.strerror}; use another --port") from None
    if chosen.register:
        register(chosen.register.rstrip("/"), server.server_port)
    sys.stdout.write(f"tools are at http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
