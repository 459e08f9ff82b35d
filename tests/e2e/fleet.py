"""Two inference services with the same models, of which one can be killed: the other goes on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.orchestrator.domain.balancing import Load, replica
from tests.e2e.replicas import KEY, Cluster, Process, started
from tests.servers.ports import free

MODELS = """\
models:
  - {name: large, size_class: large, echo: {delay_ms: 5}}
  - {name: small, size_class: small, echo: {delay_ms: 5}}
"""
ROUTES = """\
routes:
  - name: default
    rules:
      - {policy: pinned, models: [large], fallback: [small]}
"""


@dataclass
class Fleet(Cluster):
    """Orchestrators over two inference services, which serve the same models."""

    @property
    def inference(self) -> Sequence[Process]:
        """Both."""
        return self.others[:2]

    def home(self, session_id: str) -> Process:
        """The one that has the session's turns."""
        loads = [Load(each.address) for each in self.inference]
        address = replica(loads, session_id).address
        return next(each for each in self.inference if each.address == address)


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """A fleet that serves."""
    (folder / "models.yaml").write_text(MODELS)
    (folder / "routes.yaml").write_text(ROUTES)

    def process(name: str, number: int = 1, **settings: str) -> Process:
        port, admin = (free() for _ in range(2))
        return Process(name, settings, port, admin, folder / f"{name}_{number}.log")

    models = {"INFERENCE_MODELS": str(folder / "models.yaml")}
    both = [process("inference", number, **models) for number in (1, 2)]
    registry = process("tool_registry")
    orchestrator = process(
        "orchestrator",
        ORCHESTRATOR_INFERENCE__TARGET=f"ipv4:{','.join(each.address for each in both)}",
        ORCHESTRATOR_TOOL_REGISTRY__TARGET=registry.address,
        ORCHESTRATOR_MARK_KEY=KEY,
        ORCHESTRATOR_ROUTES=str(folder / "routes.yaml"),
        RUNPLANE_EVENT_STORE=f"sqlite:///{folder / 'data'}",
    )
    running = Fleet([orchestrator], [*both, registry])
    with started([*running.others, orchestrator]):
        yield running
