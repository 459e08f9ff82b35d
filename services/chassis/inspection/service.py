"""A service to look at: the settings that its process reads."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from services.chassis.inspection.effective import Effective, Sources, effective
from services.chassis.inspection.variables import Unknown, prefixes, unknown
from services.chassis.process import faults, unreadable
from services.chassis.settings import SECRETS, SharedSettings


@dataclass(frozen=True, slots=True)
class Service:
    """A service, as its `settings` module has it."""

    module: str
    own: type[BaseSettings]
    shared: type[BaseSettings]

    @property
    def name(self) -> str:
        """The one word for it."""
        return self.module.rpartition(".")[2]

    @property
    def kinds(self) -> tuple[type[BaseSettings], ...]:
        """All that is read, the suite's first."""
        return self.shared, self.own


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a service's settings."""

    shared: Any
    """None where they cannot be read."""
    own: Any
    faults: tuple[str, ...]
    """Each as `VARIABLE: what is wrong`."""
    unknown: tuple[Unknown, ...]

    def settings(self, sources: Sources) -> Iterator[Effective]:
        """Those that could be read."""
        for each in (self.shared, self.own):
            if each is not None:
                yield from effective(each, sources)


def service(module: str) -> Service:
    """The service in this package. Raises `ImportError` if there is none."""
    found = import_module(f"{module}.settings")
    return Service(module, found.Settings, getattr(found, "Shared", SharedSettings))


def sources() -> Sources:
    """What this process reads settings from."""
    return Sources(dict(os.environ), SECRETS if SECRETS.is_dir() else None)


def read(of: Service) -> Reading:
    """Read its settings as its process would."""
    (shared, first), (own, second) = (_read(kind) for kind in of.kinds)
    # Every service is told of what all share; a process knows all of that.
    kinds: set[type[BaseSettings]] = {SharedSettings, *of.kinds}
    stray = unknown(os.environ, [*kinds, *_within(kinds)])
    return Reading(shared, own, (*first, *second), tuple(stray))


def _read(kind: type[BaseSettings]) -> tuple[BaseSettings | None, list[str]]:
    try:
        return kind(), []
    except ValidationError as error:
        return None, faults(error)
    except (SettingsError, RecursionError) as error:
        return None, [unreadable(error)]
    except OSError as error:
        return None, [f"{error.filename}: cannot be read: {error.strerror}"]
    except ValueError as error:  # Its words may hold what it could not read.
        return None, [f"a setting cannot be read ({type(error).__name__})"]


def _within(kinds: set[type[BaseSettings]]) -> Iterator[type[BaseSettings]]:
    """Settings inside settings, which have a prefix of their own."""
    for kind in kinds:
        for field in kind.model_fields.values():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseSettings) and prefixes([inner]):
                yield inner
