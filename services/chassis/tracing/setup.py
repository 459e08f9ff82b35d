"""Whether this process records traces. What that takes is imported only if it does."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.chassis.settings import TelemetrySettings
from services.chassis.tracing.sampling import Sampling, sampler
from services.chassis.tracing.spans import record_to


@contextmanager
def tracing(service: str, settings: TelemetrySettings) -> Iterator[None]:
    """Record what the process does until the context is left, if there is a collector to tell."""
    if settings.endpoint is None:
        yield
        return
    from services.chassis.tracing.export import exporting  # noqa: PLC0415 - 100 ms, if needed

    how = sampler(settings.sampler, settings.share)
    with exporting(service, settings) as sink:
        record_to(sink, how, content=settings.content)
        try:
            yield
        finally:
            record_to(None, Sampling())
