"""`python -m tests.images.bills NAME…`: bills of materials are valid and list what images install.

`make sbom` writes them, and runs this with the validator that .venv/sbom holds.
"""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.images.dockerfile import ROOT
from tests.images.locks import normal, pairs


def main(names: list[str]) -> int:
    """The number of faults, at most 1."""
    has_faults = False
    for name in names:
        path = ROOT / "build" / "sbom" / f"{name}.cdx.json"
        text = path.read_text("utf-8")
        faults = [*invalid(text), *unlike(json.loads(text), ROOT / "images" / f"{name}.lock")]
        has_faults |= bool(faults)
        count = len(json.loads(text)["components"])
        print(f"{path.relative_to(ROOT)}: {count} packages, {len(faults)} faults")
        for fault in faults[:10]:
            print(f"  {fault}")
    return int(has_faults)


def invalid(text: str) -> Iterator[str]:
    """What CycloneDX's own schema refuses, unknown fields included."""
    version = import_module("cyclonedx.schema").SchemaVersion.V1_6
    validator = import_module("cyclonedx.validation.json").JsonStrictValidator(version)
    for fault in validator.validate_str(text, all_errors=True) or ():
        yield str(fault)[:500]


def unlike(bill: Any, lock: Path) -> Iterator[str]:
    """Packages that are in one of bill and lock alone, or cannot be told by the bill."""
    listed = {f"{normal(each['name'])}=={each['version']}" for each in bill["components"]}
    for each in sorted(listed ^ pairs(lock)):
        yield f"{each} is not in both"
    for each in bill["components"]:
        hashed = any("hashes" in other for other in each.get("externalReferences", []))
        if not (hashed and each.get("purl", "").startswith("pkg:pypi/")):
            yield f"{each['name']} has no package URL, or no hash"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
