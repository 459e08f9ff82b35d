"""The errors that every engine raises alike."""

from services.chassis.errors import InvalidArgument, Unavailable, Violation, invalid
from services.inference.domain.abilities import unable

__all__ = [
    "constraint_refused",
    "engine_failed",
    "schema_refused",
    "text_exceeds",
    "unable",
    "window_exceeded",
]


def window_exceeded(prompt_tokens: int, limit_tokens: int) -> InvalidArgument:
    """The prompt leaves no room in the model's window."""
    fix = "send fewer or shorter messages; CountTokens tells the size"
    return _exceeds("messages", prompt_tokens, limit_tokens, fix)


def text_exceeds(field: str, tokens: int, limit_tokens: int) -> InvalidArgument:
    """A text that is to be read as a whole has more tokens than the model takes."""
    return _exceeds(field, tokens, limit_tokens, "send a shorter text, or parts of it")


def _exceeds(field: str, tokens: int, limit_tokens: int, fix: str) -> InvalidArgument:
    fault = f"has {tokens} tokens, and the model's window is {limit_tokens} tokens"
    error = invalid(Violation(field, fault, fix), reason="CONTEXT_WINDOW_EXCEEDED")
    error.metadata |= {"limit_tokens": str(limit_tokens), "prompt_tokens": str(tokens)}
    return error


def schema_refused(why: str) -> InvalidArgument:
    """The engine cannot produce what the schema describes."""
    fix = "send a JSON Schema (2020-12) that some value matches"
    return invalid(Violation("response_schema", why[:500], fix), reason="SCHEMA_INVALID")


def constraint_refused(field: str, why: str) -> InvalidArgument:
    """The engine cannot produce what binds the output."""
    fix = "send one that some text matches"
    return invalid(Violation(field, why[:500], fix), reason="CONSTRAINT_INVALID")


def engine_failed(why: str) -> Unavailable:
    """The engine, not the request, is at fault."""
    return Unavailable("ENGINE_FAILED", f"the engine failed: {why[:500]}", cause=why[:500])
