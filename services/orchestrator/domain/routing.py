"""Which model answers a request: routes are data, and this applies them. Pure."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from services.chassis.errors import FailedPrecondition
from services.orchestrator.domain.request import Request, texts
from services.orchestrator.domain.routed import Routed

DEFAULT: Final = "default"
"""The route of requests that name no model."""
MOST_MODELS: Final = 8
"""That one task may be answered by, one after the other."""
BYTES_A_TOKEN: Final = 3
USUAL_OUTPUT_TOKENS: Final = 256
LONG_TOKENS: Final = 512
"""Of output that is asked for: more is no short answer."""
LONG_BYTES: Final = 4_000
_DEEPEST: Final = 3


class RequestClass(StrEnum):
    """What kind of work a request is."""

    CLASSIFICATION = "classification"
    """One of a few values."""
    SHORT_ANSWER = "short_answer"
    """A few sentences."""
    TOOL_USE = "tool_use"
    """Calls of tools that the request or its agent names."""
    LONG_REASONING = "long_reasoning"
    """A long text, or an answer to one."""


class Policy(StrEnum):
    """How a rule chooses among its models."""

    CHEAPEST = "cheapest"
    """The one that charges least for this request."""
    FASTEST = "fastest"
    """The one that took least time lately, as this process saw it."""
    PINNED = "pinned"
    """The first one."""
    WEIGHTED = "weighted"
    """By shares; a session keeps what it got."""
    CANARY = "canary"
    """The second one for so many percent of the sessions, else the first."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route does with some classes of requests."""

    policy: Policy
    models: tuple[str, ...] = ()
    """To choose from, in order of preference; empty for all of the catalogue."""
    weights: tuple[float, ...] = ()
    """The share of each, where the policy is by shares."""
    percent: float = 0.0
    """Of the sessions that get the second model, where the policy is a canary."""
    classes: frozenset[RequestClass] = frozenset()
    """Empty for any."""
    sizes: frozenset[str] = frozenset()
    """Size classes to choose from; empty for any."""
    fallback: tuple[str, ...] = ()
    """Models that go on where none of those can, in order."""
    priority: str = ""
    hedge_after_ms: float | None = None
    patience_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A name that requests use as a model, and its rules: the first that fits the class counts."""

    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request needs of a model."""

    request_class: RequestClass
    prompt_tokens: int
    """About."""
    output_tokens: int
    """At most, or about."""
    needs: frozenset[str]
    """Capabilities."""
    key: str
    """What a session is known by, so that it stays with what it got."""

    @property
    def tokens(self) -> int:
        """Of prompt and output together."""
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model as far as choosing needs it."""

    name: str
    context_tokens: int
    capabilities: Collection[str]
    input_usd: float = 0.0
    """What a million tokens of prompt cost."""
    output_usd: float = 0.0
    size_class: str = ""
    seconds: float | None = None
    """How long this request would take it, as was seen lately; None if that is not known."""
    is_ailing: bool = False
    """Whether it failed a moment ago."""

    def cost_usd(self, asked: Asked) -> float:
        """What it charges for this request, about."""
        charged = asked.prompt_tokens * self.input_usd + asked.output_tokens * self.output_usd
        return charged / 1e6


def class_of(request: Request) -> RequestClass:
    """What the caller says, or else what the request looks like."""
    if request.request_class:
        return RequestClass(request.request_class)
    if request.response_schema is not None and _has_few_values(request.response_schema, 0):
        return RequestClass.CLASSIFICATION
    if request.tool_choice != "none" and (request.tools or request.client_tools):
        return RequestClass.TOOL_USE
    wants = request.sampling.max_tokens or 0
    if wants > LONG_TOKENS or _bytes(request) > LONG_BYTES:
        return RequestClass.LONG_REASONING
    return RequestClass.SHORT_ANSWER


def asked_of(request: Request, key: str, *, has_tools: bool) -> Asked:
    """What this request needs; tools bind every turn by a schema."""
    is_bound = has_tools or request.response_schema is not None
    return Asked(
        class_of(request),
        _bytes(request) // BYTES_A_TOKEN,
        request.sampling.max_tokens or USUAL_OUTPUT_TOKENS,
        frozenset({"generate", "schema"} if is_bound else {"generate"}),
        key,
    )


def rule_of(route: Route, asked: Asked) -> Rule:
    """The rule that counts for a request."""
    return next(
        each for each in route.rules if not each.classes or asked.request_class in each.classes
    )


def chosen(
    route: Route,
    asked: Asked,
    catalogue: Sequence[Candidate],
    aliases: Mapping[str, Candidate] = MappingProxyType({}),
) -> Routed:
    """The models that answer this request, and why the first one is first.

    Raises:
        FailedPrecondition: `ROUTE_HAS_NO_MODEL`; none is there, or none can do it.
    """
    rule = rule_of(route, asked)
    known = {**aliases, **{each.name: each for each in catalogue}}
    rule = _renamed(rule, known)
    able = _fitting(_among(rule, known, catalogue), asked)
    preferred, reason = _ORDERS[rule.policy](rule, asked, able) if able else ((), "")
    spare = _fitting([known[name] for name in rule.fallback if name in known], asked)
    chain = tuple({each.name: each for each in (*preferred, *spare)}.values())[:MOST_MODELS]
    if not chain:
        raise _nobody(route, rule, asked)
    chain, reason = _well_first(chain, reason or "none of the rule's own models can do it")
    return Routed(
        route.name,
        asked.request_class.value,
        rule.policy.value,
        reason,
        tuple(each.name for each in chain),
        rule.priority,
        rule.hedge_after_ms,
        rule.patience_ms,
    )


def share(key: str, salt: str) -> float:
    """Where this key falls between 0 and 1: always the same place, evenly spread."""
    digest = hashlib.blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _among(
    rule: Rule, known: Mapping[str, Candidate], catalogue: Sequence[Candidate]
) -> Sequence[Candidate]:
    named = [known[name] for name in rule.models if name in known] if rule.models else catalogue
    return [each for each in named if not rule.sizes or each.size_class in rule.sizes]


def _renamed(rule: Rule, known: Mapping[str, Candidate]) -> Rule:
    """The same with the models' own names in place of aliases."""
    if all(name not in known or known[name].name == name for name in rule.models):
        return rule
    return replace(
        rule, models=tuple(known[name].name if name in known else name for name in rule.models)
    )


def _fitting(candidates: Sequence[Candidate], asked: Asked) -> Sequence[Candidate]:
    """Those that can do it. Sizes are estimates: where no window is surely wide enough, the widest
    one is tried, and whoever counts says what is too much."""
    able = [each for each in candidates if asked.needs <= set(each.capabilities)]
    wide = [each for each in able if asked.tokens <= each.context_tokens]
    return wide or sorted(able, key=lambda each: -each.context_tokens)[:1]


def _well_first(chain: tuple[Candidate, ...], reason: str) -> tuple[tuple[Candidate, ...], str]:
    """Those that failed a moment ago come last."""
    if not chain[0].is_ailing or all(each.is_ailing for each in chain):
        return chain, reason
    well = tuple(each for each in chain if not each.is_ailing)
    ill = tuple(each for each in chain if each.is_ailing)
    return (*well, *ill), f"{chain[0].name} failed a moment ago; it would be: {reason}"


_Ordered = tuple[Sequence[Candidate], str]


def _cheapest(rule: Rule, asked: Asked, able: Sequence[Candidate]) -> _Ordered:
    ordered = sorted(able, key=lambda each: each.cost_usd(asked))
    return ordered, f"the cheapest of {len(able)} that can do it"


def _fastest(rule: Rule, asked: Asked, able: Sequence[Candidate]) -> _Ordered:
    ordered = sorted(able, key=lambda each: -1.0 if each.seconds is None else each.seconds)
    first = ordered[0].seconds
    if first is None:
        return ordered, f"of {len(able)} that can do it, how fast it is was not seen lately"
    return ordered, f"the fastest of {len(able)} that can do it: about {first:.3g} s"


def _pinned(rule: Rule, asked: Asked, able: Sequence[Candidate]) -> _Ordered:
    first = rule.models[0] if rule.models else able[0].name
    if able[0].name == first:
        return able, "the first of its rule"
    return able, f"{first} is not there, or cannot do it"


def _weighted(rule: Rule, asked: Asked, able: Sequence[Candidate]) -> _Ordered:
    """The point of a key does not move when a model comes or goes, but the shares around it do."""
    weights = dict(zip(rule.models, rule.weights, strict=True))
    at = share(asked.key, "weighted") * sum(weights[each.name] for each in able)
    ordered = sorted(able, key=lambda each: -weights[each.name])
    for each in able:
        if (at := at - weights[each.name]) < 0:
            rest = [other for other in ordered if other is not each]
            return [each, *rest], f"its share is {weights[each.name]:g}"
    return ordered, "the largest share"


def _canary(rule: Rule, asked: Asked, able: Sequence[Candidate]) -> _Ordered:
    stable, new = rule.models[0], rule.models[1]
    is_new = share(asked.key, "canary") * 100 < rule.percent
    wanted, other = (new, stable) if is_new else (stable, new)
    ordered = sorted(able, key=lambda each: (wanted, other).index(each.name))
    if ordered[0].name != wanted:
        return ordered, f"{wanted} is not there, or cannot do it"
    part = rule.percent if is_new else 100 - rule.percent
    return ordered, f"{part:g} % of the sessions get it"


_ORDERS: Final[Mapping[Policy, Callable[[Rule, Asked, Sequence[Candidate]], _Ordered]]] = {
    Policy.CHEAPEST: _cheapest,
    Policy.FASTEST: _fastest,
    Policy.PINNED: _pinned,
    Policy.WEIGHTED: _weighted,
    Policy.CANARY: _canary,
}


def _nobody(route: Route, rule: Rule, asked: Asked) -> FailedPrecondition:
    wanted = ", ".join((*rule.models, *rule.fallback)) or "any model"
    if rule.sizes:
        wanted += f" of size {', '.join(sorted(rule.sizes))}"
    needs = ", ".join(sorted(asked.needs))
    return FailedPrecondition(
        "ROUTE_HAS_NO_MODEL",
        f"the route {route.name} has {wanted} for a {asked.request_class} request, of which none "
        f"is there that can {needs}",
        route=route.name,
        wanted=wanted,
        needs=needs,
        field="model",
        suggested_fix="name a model of GET /v1/models or another route, or load one of these",
    )


def _bytes(request: Request) -> int:
    return sum(len(text.encode(errors="replace")) for _, text in texts(request))


def _has_few_values(schema: object, depth: int) -> bool:
    """Whether a schema admits only values that it lists."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return False
    if "enum" in schema or "const" in schema or schema.get("type") == "boolean":
        return True
    return any(
        each and all(_has_few_values(one, depth + 1) for one in each) for each in _parts(schema)
    )


def _parts(schema: Mapping[str, object]) -> Iterator[Sequence[object]]:
    for name in ("anyOf", "oneOf"):
        if isinstance(options := schema.get(name), list):
            yield options
    if isinstance(properties := schema.get("properties"), Mapping):
        yield list(properties.values())
