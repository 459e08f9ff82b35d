"""`python -m services.chassis.probe [URL]`: whether a service is well, by exit code.

For whoever has neither curl nor grpc_health_probe: images have no other tools than Python. `http://…`
asks an admin port (`/livez`, `/readyz`), `grpc://HOST:PORT[/SERVICE]` asks grpc.health.
"""

import http.client
import sys
from contextlib import closing
from typing import Final
from urllib.parse import SplitResult, urlsplit

DEFAULT: Final = "http://127.0.0.1:9090/readyz"
SECONDS = 5.0

WELL: Final = 0
UNWELL: Final = 1
MISUSED: Final = 2


def main(arguments: list[str]) -> int:
    """0 if what was asked is well, 1 if it is not or does not answer, 2 for no such question."""
    try:
        url = urlsplit(arguments[0] if arguments else DEFAULT)
        ask = _ASKS.get(url.scheme) if url.port else None
    except ValueError:
        ask = None
    if ask is None or len(arguments) > 1:
        return _said("use http://HOST:PORT/readyz or grpc://HOST:PORT[/SERVICE]", MISUSED)
    answer, is_well = ask(url)
    return _said(answer, WELL if is_well else UNWELL)


def _http(url: SplitResult) -> tuple[str, bool]:
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=SECONDS)
    try:
        with closing(connection):
            connection.request("GET", url.path or "/readyz")
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error or type(error).__name__}", False
    return f"HTTP {status}", status == http.client.OK


def _grpc(url: SplitResult) -> tuple[str, bool]:
    import grpc  # noqa: PLC0415 - a tenth of a second that a question by HTTP does not take
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    request = health_pb2.HealthCheckRequest(service=url.path.strip("/"))
    with grpc.insecure_channel(url.netloc) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=SECONDS)
        except grpc.RpcError as error:
            return f"no answer: {error.code().name.lower()}", False
    states = health_pb2.HealthCheckResponse
    name = states.ServingStatus.Name(answer.status)
    return name.lower(), answer.status == states.SERVING


_ASKS: Final = {"http": _http, "grpc": _grpc}


def _said(answer: str, code: int) -> int:
    sys.stdout.write(f"{answer}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
