"""Generates the code of the contracts, or with `--check` says what of it is out of date.

Four trees come of it: `protos/gen` (google's messages and grpc stubs, for services and clients),
`gateway/pb` (Buf's messages with their fast JSON codec, for the edge only), `gateway/openapi` (the
edge's routes, described) and `docs/api` (the reference).
"""

import filecmp
import json
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import contracts
import openapi
import reference
from grpc_tools import protoc

PROTOS = Path(__file__).parent
ROOT = PROTOS.parent
WELL_KNOWN = str(files("grpc_tools") / "_proto")
BIN = Path(sys.executable).parent
PLUGINS = ["protoc-gen-mypy", "protoc-gen-mypy_grpc", "protoc-gen-py"]
EDGE_ALSO = [
    "google/api/annotations.proto",
    "google/api/http.proto",
    "google/longrunning/operations.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
]
TREES = {name: ROOT / name for name in ("protos/gen", "gateway/pb", "gateway/openapi", "docs/api")}


def run(*args: str) -> None:
    """Run protoc. Raises `SystemExit` when it refuses."""
    plugins = [f"--plugin={BIN / name}" for name in PLUGINS]
    code = protoc.main(["protoc", f"-I{PROTOS}", f"-I{WELL_KNOWN}", *plugins, *args])
    if code:
        raise SystemExit(code)


def packages(root: Path) -> None:
    """Make every folder below `root` a regular package."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()


def generate(target: Path) -> None:
    """Write both trees below `target`."""
    ours = [str(path.relative_to(PROTOS)) for path in sorted(PROTOS.glob("runplane/**/*.proto"))]
    services = [path for path in ours if "/type/" not in path]
    gen, edge = target / "protos/gen", target / "gateway/pb"
    for folder in (gen, edge):
        folder.mkdir(parents=True)
    run(f"--python_out={gen}", f"--mypy_out=quiet:{gen}", *ours)
    run(f"--grpc_python_out={gen}", f"--mypy_grpc_out=quiet:{gen}", *services)
    packages(gen / "runplane")
    run(f"--py_out={edge}", *ours, *EDGE_ALSO)
    packages(edge)
    describe(ours, target)


def describe(ours: list[str], target: Path) -> None:
    """Write what is made of the contracts for people."""
    raw = target / "descriptors"
    also = ["google/longrunning/operations.proto"]
    run("--include_imports", "--include_source_info", f"--descriptor_set_out={raw}", *ours, *also)
    said = contracts.read(raw.read_bytes())
    services = [each.full_name for each in said.services]
    edge = target / "gateway/openapi"
    edge.mkdir(parents=True)
    text = json.dumps(openapi.described(said, services), indent=1, ensure_ascii=False)
    (edge / "openapi.json").write_text(f"{text}\n", encoding="utf-8")
    api = target / "docs/api"
    api.mkdir(parents=True)
    for name, page in reference.pages(said).items():
        (api / name).write_text(page, encoding="utf-8")


def differences(fresh: Path, committed: Path) -> list[str]:
    """Names of files that are not the same in both trees."""
    names = {
        path.relative_to(root)
        for root in (fresh, committed)
        for path in root.rglob("*")
        if path.is_file() and path.suffix in {".py", ".pyi", ".json", ".md"}
    }
    return sorted(
        str(name)
        for name in names
        if not (fresh / name).is_file()
        or not (committed / name).is_file()
        or not filecmp.cmp(fresh / name, committed / name, shallow=False)
    )


def main() -> None:
    """Generate, or check."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        generate(target)
        stale = {name: differences(target / name, tree) for name, tree in TREES.items()}
        if "--check" in sys.argv:
            if any(stale.values()):
                raise SystemExit(f"generated code is out of date, run `make protos`: {stale}")
            return
        for name, tree in TREES.items():
            shutil.rmtree(tree, ignore_errors=True)
            shutil.copytree(target / name, tree)


if __name__ == "__main__":
    main()
