"""Routes from a YAML file: all that is wrong with it at once, each with its place."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from services.chassis.documents import reading as documents
from services.chassis.documents.members import UNKNOWN, brief, fix_of_unknown
from services.chassis.documents.places import Reading, Unreadable, child
from services.chassis.documents.problem import Problem
from services.chassis.documents.report import report, unreadable
from services.chassis.errors import FailedPrecondition
from services.chassis.settings import Duration
from services.orchestrator.domain.routing import MOST_MODELS, Policy, RequestClass, Route, Rule

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$")]


def _share(value: object) -> object:
    """`model` alone is a model with a share of 1."""
    return {"model": value} if isinstance(value, str) else value


class _Strict(BaseModel):
    """Knows all that it may have."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Share(_Strict):
    model: Name
    weight: float = Field(1.0, ge=0, le=1e6, allow_inf_nan=False)


class _Rule(_Strict):
    policy: Policy
    models: list[Annotated[_Share, BeforeValidator(_share)]] = Field([], max_length=MOST_MODELS)
    percent: float = Field(0.0, gt=0, le=100, allow_inf_nan=False)
    classes: list[RequestClass] = Field([], max_length=len(RequestClass))
    sizes: list[Name] = Field([], max_length=8)
    fallback: list[Name] = Field([], max_length=MOST_MODELS)
    priority: Literal["interactive", "batch"] | None = None
    hedge_after: Duration | None = None
    patience: Duration | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """What a policy needs, and what it has no use for."""
        if faults := [message for is_wrong, message in _FAULTS if is_wrong(self)]:
            raise ValueError("; ".join(faults))
        return self

    def rule(self) -> Rule:
        """The same as the domain has it."""
        return Rule(
            self.policy,
            tuple(each.model for each in self.models),
            tuple(each.weight for each in self.models),
            self.percent,
            frozenset(self.classes),
            frozenset(self.sizes),
            tuple(self.fallback),
            self.priority or "",
            None if self.hedge_after is None else self.hedge_after.total_seconds() * 1000,
            None if self.patience is None else self.patience.total_seconds() * 1000,
        )


def _says(rule: _Rule, name: str) -> bool:
    return name in rule.model_fields_set


def _is_none(span: timedelta | None) -> bool:
    return span is not None and span <= timedelta(0)


_FAULTS: Final[Sequence[tuple[Callable[[_Rule], bool], str]]] = (
    (
        lambda rule: len({each.model for each in rule.models}) < len(rule.models),
        "models has one twice: name each once",
    ),
    (
        lambda rule: rule.policy is Policy.PINNED and not rule.models,
        "pinned needs models: name the model, and what may stand in for it",
    ),
    (
        lambda rule: rule.policy is Policy.WEIGHTED and not any(x.weight for x in rule.models),
        "weighted needs models, of which one has a weight above 0",
    ),
    (
        lambda rule: (
            rule.policy is Policy.CANARY and (len(rule.models) != 2 or not _says(rule, "percent"))
        ),
        "canary needs two models, the usual one first, and the percent of the second",
    ),
    (
        lambda rule: rule.policy is not Policy.CANARY and _says(rule, "percent"),
        "percent is for canary",
    ),
    (
        lambda rule: (
            rule.policy is not Policy.WEIGHTED
            and any("weight" in each.model_fields_set for each in rule.models)
        ),
        "weights are for weighted",
    ),
    (
        lambda rule: _is_none(rule.hedge_after) or _is_none(rule.patience),
        "hedge_after and patience have to be above 0, such as 300ms",
    ),
)
"""What may be wrong with a rule as a whole."""


class _Route(_Strict):
    name: Name
    rules: list[_Rule] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _covers(self) -> Self:
        """Every request finds a rule, and every rule can be found."""
        open_at = [n for n, each in enumerate(self.rules) if not each.classes]
        if not open_at:
            left = set(RequestClass) - {each for rule in self.rules for each in rule.classes}
            if left:
                raise ValueError(
                    f"no rule is for {', '.join(sorted(left))}: add one without classes"
                )
        elif open_at[0] < len(self.rules) - 1:
            raise ValueError(f"rules[{open_at[0]}] is for all classes: put it last")
        return self


class _Document(_Strict):
    routes: list[_Route] = Field(max_length=256)

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        names = [each.name for each in self.routes]
        if twice := sorted({each for each in names if names.count(each) > 1}):
            raise ValueError(f"routes has {', '.join(twice)} twice: name each once")
        return self


_UNKNOWN: Final = "extra_forbidden"
_HOLDERS: Final[Mapping[int, type[_Strict]]] = {1: _Document, 3: _Route, 5: _Rule, 7: _Share}
"""What a field belongs to, by the steps that lead to it."""


def _unknown(error: ErrorDetails) -> tuple[str, str]:
    known = [*_HOLDERS[len(error["loc"])].model_fields]
    return UNKNOWN, fix_of_unknown(str(error["loc"][-1]), known)


def _shown(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else brief(value)


def _not_of(error: ErrorDetails) -> tuple[str, str]:
    given, expected = error["input"], error["ctx"]["expected"].replace("'", "")
    return f"is {_shown(given)}", f"use {expected}"


def _bounded(error: ErrorDetails) -> tuple[str, str]:
    said = error["msg"].partition(" should be ")[2]
    return f"is {_shown(error['input'])}", f"use a number that is {said}"


def _own_words(error: ErrorDetails) -> tuple[str, str]:
    """What a check of ours says, of the value as a whole; else what pydantic says."""
    said = error["msg"].removeprefix("Value error, ")
    return (f"cannot be: {said}" if error["loc"] else said), ""


def _always(message: str, fix: str) -> Callable[[ErrorDetails], tuple[str, str]]:
    return lambda error: (message.format(_shown(error["input"])), fix)


_WORDS: Final[Mapping[str, Callable[[ErrorDetails], tuple[str, str]]]] = {
    _UNKNOWN: _unknown,
    "enum": _not_of,
    "literal_error": _not_of,
    "greater_than": _bounded,
    "greater_than_equal": _bounded,
    "less_than_equal": _bounded,
    "missing": _always("is missing", "add it"),
    "list_type": _always("is {}", "use a list"),
    "string_type": _always("is {}", "use a text"),
    "float_type": _always("is {}", "use a number"),
    "float_parsing": _always("is {}", "use a number"),
    "model_type": _always("is {}", "use an object"),
    "string_pattern_mismatch": _always(
        "is not a name: {}", "use 1 to 64 letters, digits, _ . : / and -"
    ),
    "time_delta_parsing": _always("is {}", "use a time such as 500ms, 20s or 5m"),
    "time_delta_type": _always("is {}", "use a time such as 500ms, 20s or 5m"),
    "too_short": _always("is empty", "add one, or leave the whole out"),
}
"""How what pydantic finds is said, and mended."""


def routes_of(path: Path | None) -> Mapping[str, Route]:
    """The routes of a file, by name; none without a file.

    Raises:
        FailedPrecondition: `ROUTES_INVALID`, with all that is wrong.
    """
    if path is None:
        return {}
    try:
        source = path.read_bytes()
    except OSError as error:
        raise _refused(path, unreadable("routes", path, error)) from None
    return read(source, path)


def read(source: bytes, path: Path) -> Mapping[str, Route]:
    """The routes of a text. Raises as `routes_of`."""
    try:
        reading = documents.read(source)
        found = _Document.model_validate(reading.value)
    except Unreadable as error:
        raise _refused(path, report("routes", path, [error.problem])) from None
    except ValidationError as error:
        problems = [_problem(reading, each) for each in error.errors(include_url=False)]
        raise _refused(path, report("routes", path, problems)) from None
    return {
        each.name: Route(each.name, tuple(rule.rule() for rule in each.rules))
        for each in found.routes
    }


def _problem(reading: Reading, error: ErrorDetails) -> Problem:
    """One fault, with the place of the closest thing that is there."""
    where = ""
    for step in error["loc"]:
        where = child(where, step)
    message, fix = _WORDS.get(error["type"], _own_words)(error)
    line, column = reading.place(where, of_key=error["type"] == _UNKNOWN)
    return Problem(where, message, fix, line, column)


def _refused(path: Path, message: str) -> FailedPrecondition:
    return FailedPrecondition(
        "ROUTES_INVALID",
        message,
        field="ORCHESTRATOR_ROUTES",
        path=str(path),
        suggested_fix="mend the file; docs/routing.md shows one",
    )
