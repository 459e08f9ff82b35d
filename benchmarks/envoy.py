"""Envoy as a gRPC-JSON transcoder before the same inference service."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import psutil
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from runplane.inference.v1 import models_pb2

from benchmarks.load.job import JSON
from benchmarks.suite import Suite, seconds
from services.cli.ports import free, is_free

READY_SECONDS: Final = 20
_TYPE: Final = "type.googleapis.com/envoy.extensions"
_SERVICE: Final = models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name


@dataclass(frozen=True, slots=True)
class Proxy:
    """An Envoy that runs."""

    address: str
    process: psutil.Process
    suite: Suite

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU of Envoy and of the suite behind it."""
        return {**self.suite.cpu(), "envoy": seconds(self.process)}


@contextmanager
def running(program: str, suite: Suite) -> Iterator[Proxy]:
    """Envoy with one worker thread, as our edge has one.

    Raises:
        RuntimeError: it did not start.
    """
    port = free("127.0.0.1", taken=set())
    with tempfile.TemporaryDirectory(prefix="runplane-envoy-") as path:
        folder = Path(path)
        descriptors = folder / "descriptors.pb"
        descriptors.write_bytes(_descriptors().SerializeToString())
        configuration = folder / "envoy.json"
        configuration.write_text(json.dumps(_configuration(port, suite, str(descriptors))))
        command = [program, "-c", str(configuration), "--concurrency", "1", "-l", "error"]
        log = (folder / "log").open("w")
        child = subprocess.Popen(
            [*command, "--disable-hot-restart"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(child, port, folder / "log")
            yield Proxy(f"127.0.0.1:{port}", psutil.Process(child.pid), suite)
        finally:
            child.terminate()
            child.wait(10)
            log.close()


def _wait(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    began = monotonic()
    while is_free("127.0.0.1", port):
        if child.poll() is not None or monotonic() - began > READY_SECONDS:
            raise RuntimeError(f"Envoy did not start:\n{log.read_text()[-2000:]}")
        sleep(0.05)


def _descriptors() -> FileDescriptorSet:
    found = FileDescriptorSet()
    seen: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        file.CopyToProto(found.file.add())

    add(models_pb2.DESCRIPTOR)
    return found


def _configuration(port: int, suite: Suite, descriptors: str) -> JSON:
    transcoder: JSON = {
        "@type": f"{_TYPE}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": descriptors,
        "services": [_SERVICE],
        "print_options": {
            "preserve_proto_field_names": True,
            "always_print_primitive_fields": True,
        },
    }
    router: JSON = {"@type": f"{_TYPE}.filters.http.router.v3.Router"}
    manager: JSON = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "inference"}}],
                }
            ]
        },
    }
    chain: JSON = {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
    listener: JSON = {"name": "edge", "address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(suite)]}}


def _cluster(suite: Suite) -> JSON:
    port = int(suite.grpc["inference"].rpartition(":")[2])
    http2: JSON = {
        "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "name": "inference",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        "load_assignment": {
            "cluster_name": "inference",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }


def _address(port: int) -> JSON:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
