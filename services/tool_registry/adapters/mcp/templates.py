"""URI templates of servers."""

from functools import lru_cache

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate


@lru_cache(4096)
def _parsed(template: str) -> UriTemplate | None:
    try:
        return UriTemplate.parse(template)
    except InvalidUriTemplate:
        return None


def fits(template: str, uri: str) -> bool:
    """Whether a URI is one of a template's. Takes time linear in the URI."""
    parsed = _parsed(template)
    return parsed is not None and parsed.match(uri) is not None
