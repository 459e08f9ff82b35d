"""What llama.cpp is spared of a JSON Schema: its grammars write counts out, and mix patterns. Pure.

A maximum beyond what a generation can produce binds nothing, and is left out. A minimum beyond it
cannot be met. Patterns that must all match are combined, which takes exponential time.
"""

from collections.abc import Mapping
from typing import Final

from services.inference.domain.request import JSON
from services.inference.domain.schema_order import DATA
from services.inference.engines import failures

MAX_COUNT: Final = 10_000
MAX_LENGTH: Final = 100_000
MAX_MIXED_PATTERNS: Final = 3

_MAXIMA: Final = {"maxItems": MAX_COUNT, "maxProperties": MAX_COUNT, "maxLength": MAX_LENGTH}
_MINIMA: Final = {
    "minItems": MAX_COUNT,
    "minContains": MAX_COUNT,
    "minProperties": MAX_COUNT,
    "minLength": MAX_LENGTH,
}


def bounded(schema: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """The schema as llama.cpp can take it.

    Raises:
        InvalidArgument: `SCHEMA_INVALID`; it asks for more than that.
    """
    if _mixes(schema) and (count := _patterns(schema)) > MAX_MIXED_PATTERNS:
        raise failures.schema_refused(
            f"has {count} patterns and allOf; this engine mixes at most {MAX_MIXED_PATTERNS}"
        )
    return _object(schema)


def _object(members: Mapping[str, JSON]) -> dict[str, JSON]:
    return {
        key: _member(key, each)
        for key, each in members.items()
        if not (key in _MAXIMA and _is_above(each, _MAXIMA[key]))
    }


def _member(key: str, value: JSON) -> JSON:
    if key in DATA:
        return value
    if key in _MINIMA and _is_above(value, _MINIMA[key]):
        raise failures.schema_refused(f"{key} is over {_MINIMA[key]:,}, the most there can be")
    return _bounded(value)


def _bounded(value: JSON) -> JSON:
    if isinstance(value, Mapping):
        return _object(value)
    return [_bounded(each) for each in value] if isinstance(value, list) else value


def _is_above(value: JSON, bound: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > bound


def _mixes(value: JSON) -> bool:
    if isinstance(value, Mapping):
        return "allOf" in value or any(map(_mixes, value.values()))
    return isinstance(value, list) and any(map(_mixes, value))


def _patterns(value: JSON) -> int:
    if isinstance(value, Mapping):
        own = isinstance(value.get("pattern"), str)
        return own + sum(map(_patterns, value.values()))
    return sum(map(_patterns, value)) if isinstance(value, list) else 0
