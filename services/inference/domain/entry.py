"""An entry of the catalogue: a model, and what it needs to run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from services.chassis.errors import ServiceError
from services.inference.domain.model import Model

EVERYBODY: Final = ""
"""The tenant of what is declared; no other tenant is called so."""


class State(StrEnum):
    """Whether a model can be asked, in this process."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    UNLOADING = "unloading"
    """It answers what it was asked before."""


class Source(StrEnum):
    """Where an entry comes from."""

    SETTINGS = "settings"
    FILE = "file"
    API = "api"


@dataclass(frozen=True, slots=True)
class Llamacpp:
    """A GGUF file, or a package that has one."""

    file: str = ""
    """Below the folder of models."""
    package: str = ""
    is_embedding: bool = False
    queue: int = 64
    threads: int = 0
    """0: one for each CPU."""
    temperature: float = 0.2
    top_p: float = 0.9


@dataclass(frozen=True, slots=True)
class Echo:
    """No model."""

    queue: int = 1_024
    first_delay_ms: float = 0.0
    delay_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenAi:
    """Another server."""

    url: str = ""
    model: str = ""
    """What it is called there; empty: as here."""
    dialect: str = "openai"
    secret: str = ""
    queue: int = 256
    is_embedding: bool = False
    has_tools: bool | None = None
    """None: as the dialect has it, as with the next."""
    schema_mode: str = ""
    limit_field: str = "max_tokens"


RunsOn: TypeAlias = Llamacpp | Echo | OpenAi

ENGINES: Final[Mapping[type, str]] = {Llamacpp: "llamacpp", Echo: "echo", OpenAi: "openai"}
"""The word for what runs an entry, in documents, contracts and settings."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the catalogue. Numbers that are 0 are left to its engine."""

    name: str
    runs_on: RunsOn | None
    """None: the settings' own engine."""
    aliases: tuple[str, ...] = ()
    size_class: str = ""
    quantization: str = ""
    tokenizer: str = ""
    context_tokens: int = 0
    default_max_tokens: int = 0
    slots: int = 0
    input_price_usd: float = 0.0
    output_price_usd: float = 0.0
    source: Source = Source.API
    owner: str = ""
    revision: int = 0
    create_time: datetime | None = None
    update_time: datetime | None = None
    document: Mapping[str, object] = field(default_factory=dict, compare=False)
    """What it was made of."""

    @property
    def engine(self) -> str:
        """The word for what runs it."""
        return ENGINES.get(type(self.runs_on), "")

    @property
    def names(self) -> tuple[str, ...]:
        """What it can be asked by."""
        return (self.name, *self.aliases)

    @property
    def is_free_to_load(self) -> bool:
        """Whether loading it costs nothing worth asking for."""
        return not isinstance(self.runs_on, Llamacpp)

    @property
    def price(self) -> tuple[float, float]:
        """What a million tokens of prompt cost, and of output, in US dollars."""
        return self.input_price_usd, self.output_price_usd

    def runs_as(self, other: "Entry") -> bool:
        """Whether an engine that runs the other is one for this."""
        mine = (self.runs_on, self.context_tokens, self.default_max_tokens, self.slots)
        return mine == (
            other.runs_on,
            other.context_tokens,
            other.default_max_tokens,
            other.slots,
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """An entry, and whether it is to be loaded."""

    entry: Entry
    is_wanted: bool
    number: int = 0
    """Counts what was said of it, so that saying it again can be told."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model's file says of it."""

    quantization: str = ""
    tokenizer: str = ""


NO_FACTS: Final = Facts()


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as this process has it."""

    entry: Entry
    state: State
    is_wanted: bool
    model: Model | None = None
    """Once it is loaded."""
    failure: ServiceError | None = None
    facts: Facts = NO_FACTS
    is_default: bool = False
