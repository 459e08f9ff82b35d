"""Which models can be asked for what."""

from collections.abc import Iterable

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.inference.domain.model import Capability, Model


def unable(model: str, capability: str) -> InvalidArgument:
    """The model does other things than what it is asked for; an empty name: no model does it."""
    if model:
        fault = f"is {model!r}, which does not {capability}"
        fix = f"name a model whose capabilities include {capability}; see GET /v1/models"
    else:
        fault = f"is left out, and none is served that can {capability}"
        fix = f"serve a model whose capabilities include {capability}; docs/inference.md says how"
    return invalid(Violation("model", fault, fix), reason="MODEL_CAPABILITY_MISSING")


def first_able(models: Iterable[Model], capability: Capability) -> str:
    """The name of the first model that can; empty if none can."""
    return next((each.name for each in models if capability in each.capabilities), "")
