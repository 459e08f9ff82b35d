"""Runs the tests of vLLM on a CPU, and says so to `inputs` when they pass: `make test-vllm`."""

import os
import subprocess
import sys
from typing import Final

from tests.on_vllm.inputs import MODEL, PASSED, ROOT, digest

ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "0-1",  # Else it leaves one of two cores alone.
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TORCH_COMPILE_DISABLE": "1",  # Compiling takes longer than the tests.
    "RUNPLANE_TEST_ENGINES": "vllm,vllm-embedding,upstream-vllm",
    "RUNPLANE_TEST_VLLM_MODEL": str(MODEL),
}
TESTS: Final = ("tests/contract/inference", "tests/on_vllm")
SECONDS: Final = 300
"""For one test, and what is started for it: each vLLM takes half a minute."""
# Ours are errors, as ever; vLLM and what it rests on have some of these.
FOREIGN: Final = ("DeprecationWarning", "FutureWarning", "UserWarning")


def main() -> int:
    """Run them; returns pytest's exit code."""
    before = digest()
    ignored = [word for each in FOREIGN for word in ("-W", f"ignore::{each}")]
    own = [*ignored, "--timeout", str(SECONDS)]
    command = [sys.executable, "-m", "pytest", *own, *(sys.argv[1:] or TESTS)]
    code = subprocess.run(command, cwd=ROOT, env=os.environ | ENVIRONMENT, check=False).returncode
    if code == 0 and not sys.argv[1:]:
        PASSED.write_text(f"{before}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
