"""Redirects, followed within bounds: of GET and HEAD only, and no secret to another origin."""

from typing import Final

import httpx2

MAX_REDIRECTS: Final = 3
SECRETS: Final = "runplane.secrets"
"""The extension of a request that lists what no other origin may see, in every spelling."""

_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
_METHODS: Final = frozenset({"GET", "HEAD"})
_ANONYMOUS: Final = ("accept", "accept-encoding", "user-agent", "traceparent")


class RedirectRefused(httpx2.RequestError):
    """The answer leads to where its request is not sent. The message may be shown."""


class Following(httpx2.AsyncBaseTransport):
    """A transport that follows redirects over another one."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer of the last hop. Raises `RedirectRefused`."""
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._inner.handle_async_request(request)
            if not _leads_on(request, response):
                return response
            await response.aclose()
            request = _next(request, response.headers["location"])
        raise RedirectRefused(f"the target redirects more than {MAX_REDIRECTS} times")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


def _leads_on(request: httpx2.Request, response: httpx2.Response) -> bool:
    return (
        request.method in _METHODS
        and response.status_code in _STATUSES
        and "location" in response.headers
    )


def _next(request: httpx2.Request, location: str) -> httpx2.Request:
    try:
        url = request.url.join(location)
    except (httpx2.InvalidURL, ValueError):
        raise RedirectRefused("the target redirects to what is no URL") from None
    is_web = url.scheme in {"http", "https"} and url.host and (url.port or 80) <= 65535
    if not is_web or url.userinfo:
        raise RedirectRefused("the target redirects to what is not plain HTTP")
    if (request.url.scheme, url.scheme) == ("https", "http"):
        raise RedirectRefused("the target redirects from https to http")
    headers = httpx2.Headers(request.headers)
    headers["host"] = url.netloc.decode("ascii")
    if _origin(url) != _origin(request.url):
        if any(secret in str(url) for secret in request.extensions.get(SECRETS, ())):
            raise RedirectRefused("the target redirects elsewhere with the secret in the URL")
        kept = ("host", *_ANONYMOUS)
        headers = httpx2.Headers({name: headers[name] for name in kept if name in headers})
    return httpx2.Request(request.method, url, headers=headers, extensions=request.extensions)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or default
