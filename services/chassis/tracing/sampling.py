"""Which traces are recorded. Pure: a trace id decides, so that every process decides alike."""

from dataclasses import dataclass
from typing import Final

_ALL: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """What OpenTelemetry calls a sampler."""

    share: float = 1.0
    """Of traces that begin here."""
    follows_caller: bool = True
    """Whether a trace that began elsewhere is recorded if, and only if, it is there."""

    def takes(self, trace_id: str, said: bool | None) -> bool:
        """Whether a trace is recorded; `said` is what the caller does, if there is one."""
        if self.follows_caller and said is not None:
            return said
        if self.share in (0.0, 1.0):
            return self.share == 1.0
        return int(trace_id[16:], 16) < self.share * _ALL


def sampler(name: str, share: float) -> Sampling:
    """The sampler of a name that `OTEL_TRACES_SAMPLER` knows."""
    kind = name.removeprefix("parentbased_")
    shares = {"always_on": 1.0, "always_off": 0.0, "traceidratio": share}
    return Sampling(shares[kind], follows_caller=kind != name)
