"""The errors that every engine raises alike."""

from services.chassis.errors import InvalidArgument, Unavailable, Violation, invalid


def window_exceeded(prompt_tokens: int, limit_tokens: int) -> InvalidArgument:
    """The prompt leaves no room in the model's window."""
    error = invalid(
        Violation(
            "messages",
            f"has {prompt_tokens} tokens, and the model's window is {limit_tokens} tokens",
            "send fewer or shorter messages; CountTokens tells the size",
        ),
        reason="CONTEXT_WINDOW_EXCEEDED",
    )
    error.metadata |= {"limit_tokens": str(limit_tokens), "prompt_tokens": str(prompt_tokens)}
    return error


def text_exceeds(field: str, tokens: int, limit_tokens: int) -> InvalidArgument:
    """A text that is to be read as a whole has more tokens than the model takes."""
    error = invalid(
        Violation(
            field,
            f"has {tokens} tokens, and the model's window is {limit_tokens} tokens",
            "send a shorter text, or parts of it",
        ),
        reason="CONTEXT_WINDOW_EXCEEDED",
    )
    error.metadata |= {"limit_tokens": str(limit_tokens), "prompt_tokens": str(tokens)}
    return error


def schema_refused(why: str) -> InvalidArgument:
    """The engine cannot produce what the schema describes."""
    fix = "send a JSON Schema (2020-12) that some value matches"
    return invalid(Violation("response_schema", why[:500], fix), reason="SCHEMA_INVALID")


def engine_failed(why: str) -> Unavailable:
    """The engine, not the request, is at fault."""
    return Unavailable("ENGINE_FAILED", f"the engine failed: {why[:500]}", cause=why[:500])


def unable(model: str, capability: str) -> InvalidArgument:
    """The model does other things than what it is asked for."""
    return invalid(
        Violation(
            "model",
            f"is {model!r}, which does not {capability}",
            f"name a model whose capabilities include {capability}; see GET /v1/models",
        ),
        reason="MODEL_CAPABILITY_MISSING",
    )
