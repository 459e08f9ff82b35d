"""Which environment variables settings know, and which are set that none of them knows. Pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from services.chassis.egress.settings import of_environment

DELIMITER: Final = "__"
# Of the `runplane` command, and of this repository's tests and benchmarks.
_OTHERS: Final = re.compile(r"RUNPLANE_(URL|(TEST|BENCH|FAULT)_.*)")
# What Kubernetes and Docker tell each process of the services beside it.
_LINKS: Final = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
_LIKENESS: Final = 0.75
MOST: Final = 50
LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that sets something."""

    name: str
    is_open: bool = False
    """Whether any `NAME__KEY` sets something too, or for a prefix, any `NAME…`."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable that is set and read by nothing."""

    name: str
    nearest: str | None

    @property
    def problem(self) -> str:
        """What is wrong."""
        return f"{self.name} is not known, and changes nothing"

    @property
    def fix(self) -> str:
        """What to do."""
        return f"did you mean {self.nearest}?" if self.nearest else "remove it"


def variables(settings: type[BaseSettings]) -> Iterator[Variable]:
    """All that set something in these settings, those of settings inside them too."""
    delimiter = settings.model_config.get("env_nested_delimiter")
    for name, field in settings.model_fields.items():
        for each in variables_of(settings, name):
            yield from _of_field(field, each, delimiter)


def variables_of(settings: type[BaseSettings], field: str) -> Sequence[str]:
    """The variables of a field right in these settings; the first that is set counts."""
    alias = settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return [each.upper() for each in alias.choices if isinstance(each, str)]
    if isinstance(alias, str):
        return [alias.upper()]
    return [f"{settings.model_config.get('env_prefix', '')}{field}".upper()]


def prefixes(settings: Iterable[type[BaseSettings]]) -> frozenset[str]:
    """How the variables begin that these settings are read from, and that are nobody else's."""
    found = {each.model_config.get("env_prefix", "").upper() for each in settings}
    return frozenset(found - {"", "AWS_", "OTEL_"})


def unknown(set_: Collection[str], settings: Collection[type[BaseSettings]]) -> list[Unknown]:
    """Those set that begin as these settings' variables do, and set nothing: `MOST` of them."""
    known = [each for one in settings for each in variables(one)]
    exact = {each.name for each in known}
    open_ = tuple(_opened(each.name) for each in known if each.is_open)
    starts = tuple(prefixes(settings))
    stray = (
        name[:LONGEST]
        for name in sorted({each.upper() for each in set_})
        if name.startswith(starts)
        and name not in exact
        and not name.startswith(open_)
        and not _OTHERS.fullmatch(name)
        and not _LINKS.fullmatch(name)
    )
    return [Unknown(name, _nearest(name, exact)) for name in islice(stray, MOST)]


def _opened(name: str) -> str:
    return name if name.endswith("_") else f"{name}{DELIMITER}"


def _nearest(name: str, known: Collection[str]) -> str | None:
    """Mostly an underscore is missing where a group of settings ends."""
    joined = {each.replace("_", ""): each for each in known}
    if same := joined.get(name.replace("_", "")):
        return same
    found = get_close_matches(name, known, 1, _LIKENESS)
    return found[0] if found else None


def _of_field(field: FieldInfo, name: str, delimiter: str | None) -> Iterator[Variable]:
    inner = model_of(field.annotation)
    yield Variable(name, is_open=inner is None and _is_mapping(field.annotation))
    if (prefix := _prefix_of(field)) is not None:
        yield Variable(prefix, is_open=True)
    if inner is None:
        return
    if issubclass(inner, BaseSettings):
        yield from variables(inner)
    if delimiter:
        for part, nested in inner.model_fields.items():
            yield from _of_field(nested, f"{name}{delimiter}{part.upper()}", delimiter)


def _prefix_of(field: FieldInfo) -> str | None:
    """Where every variable that begins so is a value of this field."""
    factory: Any = field.default_factory
    if isinstance(factory, partial) and factory.func is of_environment:
        return str(factory.args[0])
    return None


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The settings that a field holds, if it holds some: `Inner`, or `Inner | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return model_of(get_args(annotation)[0])
    if get_origin(annotation) in {None, tuple, list} or _is_mapping(annotation):
        return None
    return next(filter(None, map(model_of, get_args(annotation))), None)


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)
