"""vLLM on a CPU, twice: in our inference service, and behind its own OpenAI server.

Both run in the environment that `make test-vllm` makes, each with processes of its own for the
model, and with the same settings.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from benchmarks.suite import STOP_SECONDS, seconds
from services.cli.ports import free

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = ROOT / ".venv-vllm/bin/python"
MODEL: Final = ROOT / ".venv-vllm/smollm2-135m-instruct"
SLOTS: Final = 32
CONTEXT_TOKENS: Final = 1_024
_READY_SECONDS: Final = 180
_HOST: Final = "127.0.0.1"
_ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_OMP_THREADS_BIND": "0-1",
    "TORCH_COMPILE_DISABLE": "1",
}
_ARGUMENTS: Final = {
    "dtype": "bfloat16",
    "enforce_eager": True,
    "kv_cache_memory_bytes": 2**30,
    "block_size": 32,
}
_taken: Final[set[int]] = set()


@dataclass(frozen=True, slots=True)
class Front:
    """A process that passes on what vLLM says."""

    name: str
    address: str
    """`host:port`."""
    process: psutil.Process

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU of the process itself, and of those with the model."""
        children = self.process.children(recursive=True)
        return {
            self.name: seconds(self.process),
            f"model of {self.name}": sum(map(seconds, children)),
        }


@contextmanager
def ours() -> Iterator[Front]:
    """Our inference service; its address is the gRPC port's."""
    address, admin = _address(), _address()
    settings = {
        "RUNPLANE_PAGE_TOKEN_KEY": "ab" * 32,
        "RUNPLANE_SCHEDULING": "normal",
        "INFERENCE_ENGINE": "vllm",
        "INFERENCE_SERVER__LISTEN": address,
        "INFERENCE_SERVER__ADMIN": admin,
        "INFERENCE_VLLM__MODEL": str(MODEL),
        "INFERENCE_VLLM__SLOTS": str(SLOTS),
        "INFERENCE_VLLM__CONTEXT_TOKENS": str(CONTEXT_TOKENS),
        "INFERENCE_VLLM__ARGUMENTS": json.dumps(_ARGUMENTS),
    }
    with _started(["-m", "services.inference"], settings, f"http://{admin}/readyz") as process:
        yield Front("ours", address, process)


@contextmanager
def theirs() -> Iterator[Front]:
    """vLLM's own OpenAI server."""
    address = _address()
    host, _, port = address.partition(":")
    words = ["-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL)]
    words += ["--host", host, "--port", port, "--max-num-seqs", str(SLOTS)]
    words += ["--max-model-len", str(CONTEXT_TOKENS), "--scheduling-policy", "priority"]
    for name, value in _ARGUMENTS.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    words += ["--disable-uvicorn-access-log"]
    with _started(words, {}, f"http://{address}/health") as process:
        yield Front("vLLM's own server", address, process)


def _address() -> str:
    return f"{_HOST}:{free(_HOST, taken=_taken)}"


@contextmanager
def _started(
    words: Sequence[str], settings: Mapping[str, str], ready: str
) -> Iterator[psutil.Process]:
    if not MODEL.exists():
        raise RuntimeError("there is no vLLM here: `make test-vllm` brings it, into .venv-vllm")
    process = subprocess.Popen(
        [str(PYTHON), *words],
        env={**os.environ, **_ENVIRONMENT, **settings},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        began = monotonic()
        while not _is_ready(ready):
            if process.poll() is not None or monotonic() - began > _READY_SECONDS:
                raise RuntimeError(f"{' '.join(words[:2])} does not start")
            sleep(0.2)
        yield psutil.Process(process.pid)
    finally:
        _end(process)


def _is_ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:  # noqa: S310 - of this machine
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for each in (*psutil.Process(process.pid).children(recursive=True), process):
            each.kill()
        process.wait()
