"""The manifests in k8s/, built and judged without a cluster: `python -m tests.k8s`."""
