"""The way to upstreams that whoever runs this process chose: anywhere, private addresses included.

Those that tenants name go through `Egress.client`, which has the same shape.
"""

import ssl
from functools import cache

import httpx2


def trusted(*, timeout: httpx2.Timeout, limits: httpx2.Limits) -> httpx2.AsyncClient:
    """See `Connect`. Proxies of the environment are not used; its `SSL_CERT_FILE` is."""
    return httpx2.AsyncClient(
        verify=_tls(), timeout=timeout, limits=limits, follow_redirects=False, trust_env=False
    )


@cache  # It takes some 30 ms.
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
