"""What the tests of vLLM rest on, and whether they passed with it.

`python -m tests.on_vllm.inputs` succeeds if they did. `make test-vllm` writes the result, and
whoever changes one of the inputs commits it with the change.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = ROOT / ".venv-vllm/smollm2-135m-instruct"
"""The model that the tests run."""
PASSED: Final = Path(__file__).with_name("passed.sha256")
INPUTS: Final = (
    "services/inference/ports.py",
    "services/inference/catalogue.py",
    "services/inference/metrics.py",
    "services/inference/watch.py",
    "services/inference/domain/*.py",
    "services/inference/engines/openai_http/*.py",
    "services/inference/engines/vllm/*.py",
    "services/inference/engines/bounds.py",
    "services/inference/engines/branches.py",
    "services/inference/engines/chat.py",
    "services/inference/engines/failures.py",
    "services/inference/engines/outbox.py",
    "services/inference/engines/slots.py",
    "services/inference/engines/vocabulary.py",
    "tests/contract/inference/*.py",
    "tests/on_vllm/*.py",
    "tests/on_vllm/*.txt",
)


def files() -> Iterator[Path]:
    """All of them."""
    for pattern in INPUTS:
        found = sorted(ROOT.glob(pattern))
        if not found:
            raise SystemExit(f"{__name__}: nothing is called {pattern}")
        yield from found


def digest() -> str:
    """What tells these inputs from others."""
    whole = hashlib.sha256()
    for path in files():
        whole.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return whole.hexdigest()


def have_passed() -> bool:
    """Whether the tests passed with them."""
    return PASSED.exists() and PASSED.read_text().strip() == digest()


if __name__ == "__main__":
    if not have_passed():
        sys.stderr.write("what the tests of vLLM rest on has changed since they passed\n")
        raise SystemExit(1)
    sys.stderr.write("nothing that the tests of vLLM rest on has changed since they passed\n")
