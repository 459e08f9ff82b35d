"""`python -m tests.k8s`: builds and judges every kustomization, a line each."""

import sys

from tests.k8s.manifests import built, kustomizations, policy_faults, schema_faults


def main() -> int:
    """The number of faults, at most 1."""
    has_faults = False
    for name in kustomizations():
        things = built(name)
        faults = [*schema_faults(things), *policy_faults(things)]
        has_faults |= bool(faults)
        kinds = len({each["kind"] for each in things})
        print(f"{name:<28} {len(things):>3} objects of {kinds:>2} kinds, {len(faults)} faults")
        for fault in faults:
            print(f"  {fault}")
    return int(has_faults)


if __name__ == "__main__":
    sys.exit(main())
