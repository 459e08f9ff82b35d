"""Whether an agent goes round in circles. Pure."""

import json
from collections.abc import Sequence

from services.orchestrator.domain.task import Call, Step


def repeats_a_failure(steps: Sequence[Step]) -> bool:
    """Whether the last step made a call again that had failed in a step before it."""
    failed = {_asked(call) for step in steps[:-1] for call in step.calls if call.failure}
    return any(_asked(call) in failed for step in steps[-1:] for call in step.calls)


def _asked(call: Call) -> tuple[str, str]:
    return call.tool, json.dumps(call.input, sort_keys=True)
