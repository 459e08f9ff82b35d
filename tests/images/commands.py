"""Runs in each image what pods run in it, and what docs/images.md says may be run."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from tests.images.box import Told, is_possible
from tests.images.running import CALLEES, KEYS, OWN, READY_SECONDS, Answer, Image, Places, Unwell

STATE: Final = ("--state", "/tmp/state")  # noqa: S108 - a pod's own
SERVICES: Final = {
    "inference": "runplane.inference.v1.InferenceService",
    "tool-registry": "runplane.tool_registry.v1.ToolRegistryService",
    "orchestrator": "runplane.orchestrator.v1.OrchestratorService",
    "workflow": "runplane.workflow.v1.WorkflowService",
}
IN_POD: Final = """
import os, pathlib
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
rights = dict(line.split(":\t") for line in lines if line.startswith(("Cap", "NoNewPrivs")))
assert rights == {**dict.fromkeys(rights, "0" * 16), "NoNewPrivs": "1"}, rights
assert (os.getuid(), os.getgid(), os.getgroups()) == (65532, 65532, []), os.getgroups()
assert all(os.statvfs(each).f_flag & os.ST_RDONLY for each in (".", "/", "/run"))
"""


def is_in_a_pod(image: Image) -> bool:
    """Whether processes are run as a pod has them: if it may be, it is."""
    if is_possible():
        _well(image.ask("-c", IN_POD), image, "the box")
    return is_possible()


def migrates(cli: Image, where: Places) -> None:
    """The Job of k8s/components/migrations: its command, and what it may read."""
    store = {"runplane_event_store": where.stores.secrets["runplane_event_store"]}
    told = Told(secrets=KEYS | OWN["orchestrator"].secrets | store)
    pending = cli.run("migrate", "--check", *STATE, told=told)
    if pending.returncode != 1 or "steps pending" not in pending.stdout:
        raise Unwell(f"migrate --check says {pending.stdout}{pending.stderr}")
    _well(cli.run("migrate", *STATE, told=told), cli, "migrate")
    _well(cli.run("migrate", "--check", *STATE, told=told), cli, "migrate --check")


def is_sound(images: Mapping[str, Image], where: Places) -> None:
    """Each image looks at what its service needs, and the command's at all of it."""
    for name in CALLEES:
        image, told = images[name], where.told(name)
        arguments = ("-m", "services.chassis.inspection", image.module)
        _finds_no_errors(image, partial(image.ask, *arguments, "check", told=told))
        if name in SERVICES:
            _well(image.ask(*arguments, "migrate-check", told=told), image, "migrate-check")
    cli = images["cli"]
    _finds_no_errors(cli, partial(cli.run, "doctor", "--json", *STATE, told=where.all()))


def is_probed(images: Mapping[str, Image], where: Places) -> None:
    """Each image's probe answers, by each way of asking it."""
    for name in CALLEES:
        urls = [f"http://{where.admin[name]}/livez", f"http://{where.admin[name]}/readyz"]
        if name in SERVICES:
            urls += [
                f"grpc://{where.listen[name]}",
                f"grpc://{where.listen[name]}/{SERVICES[name]}",
            ]
        for url in urls:
            _well(images[name].ask("-m", "services.chassis.probe", url), images[name], url)


def _finds_no_errors(image: Image, ask: Callable[[], Answer]) -> None:
    """At the latest once this machine has time: a look allows each server some seconds."""
    end = time.monotonic() + READY_SECONDS
    while (answer := ask()).returncode or '"level": "error"' in answer.stdout:
        if time.monotonic() > end:
            raise Unwell(f"{image.name} finds {answer.stdout}{answer.stderr}")


def _well(answer: Answer, image: Image, what: str) -> str:
    if answer.returncode != 0:
        raise Unwell(f"{what} in {image.name} says {answer.stdout}{answer.stderr}")
    return answer.stdout
