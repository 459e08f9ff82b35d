"""The MCP SDK costs half a second of CPU, which nobody pays who has no server."""

import subprocess
import sys


def test_the_registry_starts_without_the_sdk() -> None:
    script = "import sys, services.tool_registry.app; print('mcp' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
