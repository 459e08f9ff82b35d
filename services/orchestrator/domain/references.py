"""Which large values a task refers to, by the names that its agent reads them under."""

from collections.abc import Mapping

from services.chassis.errors import NotFound
from services.orchestrator.domain.large import Large
from services.orchestrator.domain.task import Task


def results(task: Task) -> dict[str, Large]:
    """The large results of a task's calls, by the call's id, in their order."""
    return {
        call.call_id: call.output
        for step in task.steps
        for call in step.calls
        if isinstance(call.output, Large)
    }


def readable(task: Task) -> Mapping[str, Large]:
    """What its agent can read on in: large texts of the request, then large results."""
    return {**dict(task.spec.large), **results(task)}


def find(task: Task, sha256: str) -> Large:
    """The large value of this hash that a task's log refers to.

    Raises:
        NotFound: `OBJECT_NOT_FOUND`.
    """
    answer = [task.output] if isinstance(task.output, Large) else []
    contents = [call.content for step in task.steps for call in step.calls if call.content]
    for large in (*readable(task).values(), *contents, *answer):
        if large.sha256 == sha256:
            return large
    task_id = task.spec.task_id
    raise NotFound(
        "OBJECT_NOT_FOUND",
        f"{task_id} refers to no object {sha256}",
        field="sha256",
        task_id=task_id,
        sha256=sha256,
        suggested_fix="use the sha256 of a reference in one of the task's events",
    )
