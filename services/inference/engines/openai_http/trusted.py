"""The way to upstreams that whoever runs this process chose: anywhere, private addresses included.

Those that tenants name go through `Egress.client`, which has the same shape.
"""

import httpx2


def trusted(*, timeout: httpx2.Timeout, limits: httpx2.Limits) -> httpx2.AsyncClient:
    """See `Connect`."""
    return httpx2.AsyncClient(
        timeout=timeout, limits=limits, follow_redirects=False, trust_env=False
    )
