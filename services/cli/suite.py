"""What a suite on one machine consists of: five programs, their addresses and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from services.cli.ports import free, joined
from services.cli.supervisor import Program, python
from services.cli.upstream import Upstream

SERVICES: Final = ("inference", "tool_registry", "orchestrator", "workflow")
MODULES: Final = {name: f"services.{name}" for name in SERVICES} | {"gateway": "gateway"}
OFFSETS: Final = {"orchestrator": 1, "inference": 2, "tool_registry": 3, "workflow": 4}
ADMIN: Final = {"gateway": 5, "orchestrator": 6, "inference": 7, "tool_registry": 8, "workflow": 9}


COMPUTING: Final = ("llamacpp", "vllm")
"""Engines whose threads, or whose processes, compute all the time."""
MODEL_SETTINGS: Final = {
    "llamacpp": "INFERENCE_LLAMACPP__MODEL_PATH",
    "vllm": "INFERENCE_VLLM__MODEL",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything listens. Replicas are called `orchestrator`, `orchestrator-2` and on."""

    host: str
    edge: int
    grpc: Mapping[str, int]
    admin: Mapping[str, int]

    @property
    def url(self) -> str:
        """The edge's address as people on this machine type it."""
        wide = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a name, not a place to listen
        return f"http://{joined(wide.get(self.host, self.host), self.edge)}"

    def address(self, replica: str) -> str:
        """`host:port` of a replica's gRPC port."""
        return joined("127.0.0.1", self.grpc[replica])

    def target(self, service: str) -> str:
        """All replicas of a service, as grpc names them."""
        found = [self.address(each) for each in self.grpc if service_of(each) == service]
        return found[0] if len(found) == 1 else f"ipv4:{','.join(found)}"


def service_of(replica: str) -> str:
    """The service that a replica is one of."""
    return replica.partition("-")[0]


EGRESS: Final = "127.0.0.0/8,::1"  # On a laptop, what tools call is often beside them.


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who starts a suite chose."""

    engine: str
    """Empty: only what a file of models says."""
    model: str | None
    log_level: str
    page_token_key: str = ""
    grace: timedelta = timedelta(seconds=20)
    event_store: str = "memory:"
    mark_key: str = ""
    hot_store: str = "memory:"
    event_bus: str = "memory:"
    object_store: str = ""
    """Empty: there is none."""
    egress: str = EGRESS
    """Where tools may be sent beside the public internet."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    has_programs: bool | None = None
    """Whether MCP servers may be programs; None: if only this machine reaches the edge."""
    upstream: Upstream | None = None
    """The server that answers, where the engine is one elsewhere."""
    models: Path | None = None
    """A file of further models."""
    models_dir: Path | None = None
    """Where GGUF files are that models name."""
    routes: Path | None = None
    """A file of routes, which choose among the models."""


def planned(host: str, port: int, replicas: Mapping[str, int] | None = None) -> Plan:
    """Ports next to the edge's where they are free, else any. Only the edge leaves the machine."""
    taken = {port}
    wanted = replicas or {}

    def near(name: str, offsets: Mapping[str, int]) -> int:
        preferred = port + offsets[name] if name in offsets else 0
        return free("127.0.0.1", preferred=preferred, taken=taken)

    grpc = {}
    for service in OFFSETS:
        for number in range(1, wanted.get(service, 1) + 1):
            name = service if number == 1 else f"{service}-{number}"
            grpc[name] = near(name, OFFSETS)
    admin = {name: near(name, ADMIN) for name in (*grpc, "gateway")}
    return Plan(host, port, grpc, admin)


def programs(plan: Plan, options: Options) -> list[Program]:
    """The processes, in the order in which they depend on each other."""
    own = {
        "inference": _inference(options),
        "tool_registry": {
            "TOOL_REGISTRY_EGRESS__ALLOW": options.egress,
            "TOOL_REGISTRY_EGRESS__DENY": _own_places(plan),
            "TOOL_REGISTRY_MCP__STDIO": str(_has_programs(plan.host, options)).lower(),
            "GRPC_ENABLE_FORK_SUPPORT": "false",  # It forks to run programs only.
        },
        "orchestrator": _targets(plan, "orchestrator", ("inference", "tool_registry"))
        | _routes(options)
        | {"ORCHESTRATOR_MARK_KEY": options.mark_key},
        "workflow": _targets(plan, "workflow", ("tool_registry", "orchestrator")),
        "gateway": _targets(plan, "gateway", SERVICES)
        | {"GATEWAY_LISTEN": joined(plan.host, plan.edge)},
    }
    shared = {
        "RUNPLANE_PAGE_TOKEN_KEY": options.page_token_key,
        "RUNPLANE_EVENT_STORE": options.event_store,
        "RUNPLANE_HOT_STORE": options.hot_store,
        "RUNPLANE_EVENT_BUS": options.event_bus,
        "RUNPLANE_LOG__LEVEL": options.log_level,
        "RUNPLANE_SCHEDULING": "normal" if options.engine in {"", *COMPUTING} else "batch",
    }
    if options.object_store:
        shared["RUNPLANE_OBJECT_STORE"] = options.object_store
    return [
        Program(
            name,
            python(MODULES[service]),
            shared | _listen(plan, name) | _grace(service, options.grace) | own[service],
            ("127.0.0.1", plan.admin[name]),
        )
        for service in own
        for name in plan.admin
        if service_of(name) == service
    ]


def _own_places(plan: Plan) -> str:
    """Where the suite's own programs believe whoever speaks to them, so that tools must not."""
    ports = [*plan.grpc.values(), *plan.admin.values()]
    return ",".join(joined("127.0.0.1", port) for port in ports)


def _has_programs(host: str, options: Options) -> bool:
    """Who may register a program can run any; until there is authentication, that is everyone."""
    if options.has_programs is not None:
        return options.has_programs
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(plan: Plan, name: str) -> dict[str, str]:
    admin = joined("127.0.0.1", plan.admin[name])
    if name == "gateway":
        return {"GATEWAY_ADMIN": admin}
    prefix = service_of(name).upper()
    return {f"{prefix}_SERVER__LISTEN": plan.address(name), f"{prefix}_SERVER__ADMIN": admin}


def _grace(name: str, whole: timedelta) -> dict[str, str]:
    """The edge's clients get half of the time; what stands behind it has little left to end."""
    if name == "gateway":
        return {"GATEWAY_GRACE": f"{whole.total_seconds() * 0.5:.3f}"}
    return {f"{name.upper()}_SERVER__GRACE": f"{whole.total_seconds() * 0.1:.3f}"}


def _targets(plan: Plan, name: str, callees: tuple[str, ...]) -> dict[str, str]:
    return {f"{name.upper()}_{each.upper()}__TARGET": plan.target(each) for each in callees}


def _routes(options: Options) -> dict[str, str]:
    routes = options.routes
    return {} if routes is None else {"ORCHESTRATOR_ROUTES": str(routes.resolve())}


def _inference(options: Options) -> dict[str, str]:
    chosen = {"INFERENCE_ENGINE": options.engine} if options.engine else {}
    if options.models is not None:
        chosen["INFERENCE_MODELS"] = str(options.models.resolve())
    if options.models_dir is not None:
        chosen["INFERENCE_MODELS_DIR"] = str(options.models_dir)
    if options.model is not None:
        path = Path(options.model).resolve()
        # What is no path names a model on a hub.
        chosen[MODEL_SETTINGS[options.engine]] = str(path) if path.exists() else options.model
    if options.upstream is not None:
        chosen |= options.upstream.environment
    return chosen
