"""Builds kustomizations, and finds what is wrong with their objects: schemas and policies."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import kubernetes_validate
import regorus
import yaml

Object = dict[str, Any]

ROOT: Final = Path(__file__).parents[2] / "k8s"
VERSIONS: Final = ("1.34", "1.37")
"""Of Kubernetes: the oldest that has all that is used (preStop's sleep), and the newest known."""
KUBECTL: Final = Path(sys.executable).parent / "kubectl"


def kustomizations() -> list[str]:
    """What is built: every overlay, and the combinations of k8s/tests."""
    found = [*ROOT.glob("overlays/*"), *ROOT.glob("tests/*")]
    return sorted(
        str(each.relative_to(ROOT)) for each in found if (each / "kustomization.yaml").is_file()
    )


@cache
def built(name: str) -> tuple[Object, ...]:
    """The objects of a kustomization."""
    done = subprocess.run(
        [KUBECTL, "kustomize", ROOT / name], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode or done.stderr:  # What it only warns of is wrong as well.
        raise ValueError(f"{name}: {done.stderr}")
    return tuple(each for each in yaml.safe_load_all(done.stdout) if each)


def of_kind(name: str, kind: str) -> dict[str, Object]:
    """The objects of a kind in a kustomization, by their names."""
    return {each["metadata"]["name"]: each for each in built(name) if each["kind"] == kind}


def title(thing: Object) -> str:
    """An object's kind and name."""
    return f"{thing['kind']} {thing['metadata']['name']}"


def schema_faults(things: Sequence[Object]) -> Iterator[str]:
    """What schemas say against objects. One that no schema knows is a fault."""
    for thing in things:
        schema = ROOT / "tests/schemas" / f"{thing['kind']}.json"
        faults = _custom(thing, schema) if schema.is_file() else _native(thing)
        yield from (f"{title(thing)}: {fault}" for fault in faults)


def _native(thing: Object) -> Iterator[str]:
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{version}: {'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{version}: {error}"


def _custom(thing: Object, schema: Path) -> Iterator[str]:
    for error in _validator(schema).iter_errors(thing):
        yield f"{'.'.join(map(str, error.instance_path))}: {error.message}"


@cache
def _validator(schema: Path) -> Any:
    return jsonschema_rs.validator_for(json.loads(schema.read_text(encoding="utf-8")))


@cache
def _engine() -> regorus.Engine:
    engine = regorus.Engine()
    for path in sorted((ROOT / "tests/policies").glob("*.rego")):
        engine.add_policy_from_file(str(path))
    return engine


def policy_faults(things: Sequence[Object]) -> list[str]:
    """What the policies in k8s/tests/policies say against a whole set of objects."""
    engine = _engine().clone()
    engine.set_input_json(json.dumps({"objects": list(things)}))
    return sorted(engine.eval_rule("data.runplane.deny"))
