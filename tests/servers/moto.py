"""A server that speaks S3's protocol (moto), as a process of its own."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import httpx2
import obstore
from obstore.store import S3Store
from pydantic import SecretStr

from services.chassis.settings import AwsSettings
from services.cli.ports import is_free
from tests.servers.ports import free

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

READY_SECONDS = 30


@dataclass
class Moto:
    """A server that can be stopped and started again, empty."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def aws(self) -> AwsSettings:
        """How it is reached; it takes any keys."""
        url = f"http://127.0.0.1:{self.port}"
        secret = SecretStr("secret")
        return AwsSettings(access_key_id="id", secret_access_key=secret, endpoint_url=url)

    def start(self) -> None:
        """Listen again."""
        where = ["-H", "127.0.0.1", "-p", str(self.port)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", *where], stdout=log, stderr=log
            )
        end = monotonic() + READY_SECONDS
        while is_free("127.0.0.1", self.port):
            assert self.process.poll() is None, (self.home / "log").read_text()[-2000:]
            assert monotonic() < end, "moto did not get ready"
            sleep(0.05)

    def make(self, bucket: str) -> None:
        """Have a bucket of this name."""
        httpx2.put(f"http://127.0.0.1:{self.port}/{bucket}").raise_for_status()

    def write(self, bucket: str, key: str, body: bytes) -> None:
        """Put something else under a key."""
        client: ClientConfig = {"allow_http": True}
        config: S3Config = {
            "access_key_id": "id",
            "secret_access_key": "secret",
            "endpoint": f"http://127.0.0.1:{self.port}",
        }
        obstore.put(S3Store(bucket, config=config, client_options=client), key, body)

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@contextmanager
def moto() -> Iterator[Moto]:
    """A server without buckets."""
    with tempfile.TemporaryDirectory(prefix="runplane-moto-") as path:
        server = Moto(Path(path), free())
        server.start()
        try:
            yield server
        finally:
            server.stop()
