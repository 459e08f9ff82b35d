"""Routes from a YAML file: all that is wrong with it at once, each with its place."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Self

import yaml
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

from services.chassis.errors import FailedPrecondition
from services.chassis.settings import Duration
from services.orchestrator.domain.routing import MOST_MODELS, Policy, RequestClass, Route, Rule

MAX_BYTES: Final = 256 * 1024
MAX_FAULTS: Final = 20

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
    priority: Annotated[str, StringConstraints(pattern="^(interactive|batch)$")] = ""
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
            self.priority,
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
        raise _refused(path, [f"it cannot be read: {error.strerror}"]) from None
    return read(source, path)


def read(source: bytes, path: Path) -> Mapping[str, Route]:
    """The routes of a text. Raises as `routes_of`."""
    if len(source) > MAX_BYTES:
        raise _refused(path, [f"it has {len(source)} bytes; at most {MAX_BYTES} are taken"])
    try:
        text = source.decode()
        root = _composed(text)
        found = _Document.model_validate(yaml.load(text, yaml.CSafeLoader))
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise _refused(path, [f"it is no YAML: {' '.join(str(error).split())[:300]}"]) from None
    except ValidationError as error:
        raise _refused(path, [_fault(root, each) for each in error.errors()]) from None
    return {
        each.name: Route(each.name, tuple(rule.rule() for rule in each.rules))
        for each in found.routes
    }


def _composed(text: str) -> yaml.Node | None:
    """The text as nodes, which know their places. Each key stands once, and there are no aliases,
    which may stand for more than any file may hold."""
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} has an alias: write it out")
    root: yaml.Node | None = yaml.compose(text, yaml.CSafeLoader)
    for mapping in _mappings(root):
        keys = [key.value for key, _ in mapping.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                line = mapping.value[index][0].start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: {str(key)[:64]} stands there twice")
    return root


def _mappings(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _mappings(each)


def _fault(root: yaml.Node | None, error: ErrorDetails) -> str:
    """One fault, with the place of the closest thing that is there."""
    node, where = root, ""
    for step in error["loc"]:
        where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else str(step)
        node = _child(node, step) or node
    mark = node.start_mark if node else None
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    said = re.sub(r"^Value error, ", "", error["msg"])
    return f"{place}{where or 'it'}: {said}"


def _child(node: yaml.Node | None, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    return None


def _refused(path: Path, faults: list[str]) -> FailedPrecondition:
    return FailedPrecondition(
        "ROUTES_INVALID",
        "\n  ".join([f"the routes of {path} cannot be used:", *faults[:MAX_FAULTS]]),
        field="ORCHESTRATOR_ROUTES",
        path=str(path),
        suggested_fix="mend the file; docs/routing.md shows one",
    )
