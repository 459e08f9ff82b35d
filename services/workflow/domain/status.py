"""The word for where a workflow stands, and for what it waits. Pure."""

from services.workflow.domain.advance import is_unsettled
from services.workflow.domain.definition import Validator
from services.workflow.domain.instance import Phase, Standing


def status(at: Standing) -> str:
    """`running`, `waiting`, or the phase that it is in."""
    if at.instance.phase is not Phase.ACTIVE:
        return str(at.instance.phase.value)
    return "running" if _is_running(at) else "waiting"


def waits_for(at: Standing) -> str:
    """`signal`, `approval`, `workflow` or `person`; empty while it does something or is over."""
    instance = at.instance
    if instance.phase is Phase.COMPENSATION_FAILED:
        return "person"
    if instance.phase is not Phase.ACTIVE or _is_running(at):
        return ""
    if instance.child:
        return "workflow"
    guard = at.state.guard
    return "approval" if guard and guard.validator is Validator.APPROVER else "signal"


def _is_running(at: Standing) -> bool:
    """Whether it does something, or is about to, for whoever asks for its status; else it waits."""
    if at.is_acting:
        return not at.instance.child
    return at.instance.asked is not None or is_unsettled(at)
