"""An upstream as it is configured."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol, TypeAlias

import httpx2

from services.inference.domain.model import Capability
from services.inference.engines.openai_http.dialect import DIALECTS, Dialect, SchemaMode

Key: TypeAlias = Callable[[], Awaitable[str]]
"""Reads the key anew: it may have been replaced. Empty: none is sent."""

MIB: Final = 1024 * 1024


class Connect(Protocol):
    """Makes a client for an upstream: one that may go anywhere, or one that egress keeps."""

    def __call__(self, *, timeout: httpx2.Timeout, limits: httpx2.Limits) -> httpx2.AsyncClient:
        """A client that follows no redirect of a POST."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an upstream may take and send at most."""

    connect: timedelta = timedelta(seconds=5)
    silence: timedelta = timedelta(seconds=60)
    """Before its first word, and between two."""
    start: timedelta = timedelta(seconds=60)
    """How long it is waited for when this process starts."""
    window: timedelta = timedelta(seconds=10)
    """That it has at least to tell its window then, from its first word to its last."""
    event_bytes: int = MIB
    """Of one piece of a stream."""
    answer_bytes: int = 64 * MIB
    """Of a whole answer."""
    retry_after: timedelta = timedelta(seconds=1)
    """When it is overloaded and does not say until when."""


def variable(name: str) -> str:
    """The variable of the environment that has the setting of this name."""
    return f"INFERENCE_OPENAI__{name.upper()}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One model of one upstream."""

    name: str
    """What the model is called here."""
    url: str
    """Up to and with `/v1`, or whatever stands before `/chat/completions`."""
    model: str
    """What it is called there."""
    dialect: Dialect = DIALECTS["openai"]
    context_tokens: int | None = None
    """None: the upstream is asked."""
    default_max_tokens: int = 1_024
    slots: int = 32
    queue: int = 256
    schema: SchemaMode | None = None
    """None: as the dialect has it."""
    has_tools: bool | None = None
    """None: as the dialect has it."""
    is_embedding: bool = False
    """Whether it embeds, and does nothing else."""
    limit_field: str = "max_tokens"
    """What a body calls the most tokens of an output."""
    bounds: Bounds = field(default_factory=Bounds)
    setting: Callable[[str], str] = variable
    """What errors call a setting: `url`, `model`, `api_key` or `context_tokens`."""

    @property
    def schema_mode(self) -> SchemaMode:
        """How an output is bound."""
        return self.schema or self.dialect.schema

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What its model can be asked for."""
        if self.is_embedding:
            return frozenset({Capability.EMBED})
        tools = self.dialect.has_tools if self.has_tools is None else self.has_tools
        able = {
            Capability.GENERATE: True,
            Capability.CONTINUE: self.dialect.going_on is not None,
            Capability.SCHEMA: self.schema_mode != "none",
            Capability.CLASSIFY: self.dialect.has_scores,
            Capability.TOOLS: tools,
        }
        return frozenset(capability for capability, is_there in able.items() if is_there)

    @property
    def version(self) -> str:
        """Of what is asked. What is behind it may change without a word."""
        said = f"{self.url}\n{self.model}\n{self.dialect}\n{self.schema_mode}"
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def name_of(model: str) -> str:
    """A name for an upstream's model that is one here: the last part of its path."""
    fit = re.sub(r"[^A-Za-z0-9_.-]+", "-", model.rstrip("/").rpartition("/")[2])
    return fit.strip("-")[:64] or "upstream"
