"""`make images-check`: builds what images hold by the Dockerfile's own steps, and runs the suite.

Exits with 1 and what is wrong, if anything is.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.images.build import Builder, base_python
from tests.images.commands import is_in_a_pod, is_probed, is_sound, migrates
from tests.images.dockerfile import ROOT, targets
from tests.images.locks import normal, pairs
from tests.images.running import CALLEES, Image, Places, Unwell, places, ready
from tests.images.stores import stores
from tests.images.trees import Tree

ELSEWHERE: Final = frozenset({"inference-gpu"})
"""What needs a base that is not here: CUDA's, and gigabytes beside."""
SECONDS: Final = 60
BESIDE: Final = "/var/tmp"  # noqa: S108 - a box has a /tmp of its own


def main() -> int:
    """Build, run, and say how large each tree is."""
    with tempfile.TemporaryDirectory(
        prefix="runplane-images-", dir=BESIDE, ignore_cleanup_errors=True
    ) as folder:
        prefix = Path(folder)
        prefix.chmod(0o755)  # For the user that images run as.
        try:
            _check(prefix)
        except (Unwell, subprocess.SubprocessError) as error:
            print(f"images: {error}", file=sys.stderr)
            return 1
        finally:
            subprocess.run(["chmod", "-R", "u+w", folder], check=False)
    return 0


def _check(prefix: Path) -> None:
    python = base_python(prefix / "python")
    builder = Builder(prefix, python)
    images = {}
    for name in sorted(targets().keys() - ELSEWHERE):
        images[name] = Image(name, builder.build(name), python)
        tree = Tree(images[name].tree)
        print(
            f"{name:14} {tree.mebibytes:6.1f} MiB {len(tree.packages):3} packages ({tree.largest})"
        )
    for image in images.values():
        _has_what_its_bill_lists(image)
    _is_the_same_again(prefix / "again", python, images["gateway"])
    before = {name: Tree(image.tree).fingerprint for name, image in images.items()}
    print(f"run as in a pod: {is_in_a_pod(images['cli'])}")
    with stores() as told:
        where = places(told)
        migrates(images["cli"], where)
        is_sound(images, where)
        _serves(images, where, prefix)
    _is_cli(images["cli"])
    for name, image in images.items():
        if Tree(image.tree).fingerprint != before[name]:
            raise Unwell(f"{name} wrote into its own tree")
    print("nothing was written into any tree")


def _has_what_its_bill_lists(image: Image) -> None:
    """`make sbom` has compared the bill with the lock; this compares the lock with the tree."""
    parts = (each.rpartition("-") for each in Tree(image.tree).packages)
    there = {f"{normal(name)}=={version}" for name, _, version in parts if name != "runplane"}
    if unlike := there ^ pairs(ROOT / "images" / f"{image.name}.lock"):
        raise Unwell(f"{image.name} and its bill do not agree: {unlike}")


def _is_the_same_again(prefix: Path, python: Path, image: Image) -> None:
    """A second build from nothing makes the same bytes."""
    prefix.mkdir()
    again = Tree(Builder(prefix, python).build(image.name) / "app")
    if unlike := again.unlike(Tree(image.tree)):
        raise Unwell(f"{image.name} is not the same when it is built again: {', '.join(unlike)}")
    print(f"{image.name} is the same when it is built again: {again.fingerprint}")


def _serves(images: dict[str, Image], where: Places, prefix: Path) -> None:
    """Every service from its own tree, and a request through all of them."""
    with ExitStack() as stack:
        for name in CALLEES:
            running = images[name].running(where.told(name), prefix / f"{name}.log")
            stack.enter_context(running)
        for name in CALLEES:
            seconds = ready(images[name], where.admin[name], prefix / f"{name}.log")
            print(f"{name:14} is ready after {seconds:.1f} s more")
        is_probed(images, where)
        _answers(where)


def _answers(where: Places) -> None:
    script = 'tool:calculator {"expression": "12*7"}'
    request = urllib.request.Request(
        f"http://{where.listen['gateway']}/v1/agent/invoke",
        json.dumps({"query": script, "tools": ["calculator"]}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        said = json.load(answer)
    if said["status"] != "completed" or not said["metrics"]["tool_duration_ms"]:
        raise Unwell(f"the suite answers {said}")
    print(f"the suite answers: {said['status']}, {said['result']!r}")


def _is_cli(image: Image) -> None:
    answer = image.run("--version")
    if answer.returncode != 0:
        raise Unwell(f"{image.name} says {answer.stderr}")
    print(f"{image.name:14} {answer.stdout.strip()}")


if __name__ == "__main__":
    sys.exit(main())
