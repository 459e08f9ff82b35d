"""Secrets, taken out of whatever a server says."""

from collections.abc import Sequence

from services.tool_registry.adapters.secrets import scrubbed, scrubbed_value


class Scrub:
    """Knows the secrets that a server was given."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = tuple(secrets)

    def text(self, text: str) -> str:
        """A text without them."""
        return scrubbed(text, self._secrets) if self._secrets else text

    def value(self, value: object) -> object:
        """JSON without them. Raises ValueError if it is nested too deep."""
        return scrubbed_value(value, self._secrets) if self._secrets else value
