"""What `runplane doctor` looks at for this service: the file of routes."""

import asyncio

from services.chassis.inspection.finding import Finding, fine
from services.orchestrator.adapters.routes import routes_of
from services.orchestrator.settings import Settings


async def checks(settings: Settings) -> list[Finding]:
    """What is found.

    Raises:
        FailedPrecondition: as the service's start.
    """
    if settings.routes is None:
        return []
    await asyncio.to_thread(routes_of, settings.routes)
    return [fine("routes", f"{settings.routes} can be used")]
