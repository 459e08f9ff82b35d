"""The one fault of a session that is told apart without the SDK."""


class Lost(Exception):
    """The connection broke, or the server does not answer. The message says what is known."""
