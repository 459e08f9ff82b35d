"""What `runplane doctor` looks at for this service: the folder of secrets."""

import os

from services.chassis.inspection.finding import Finding, fine, wrong
from services.tool_registry.settings import Settings


async def checks(settings: Settings) -> list[Finding]:
    """What is found."""
    folder = settings.secrets.folder
    if folder is None:
        return []
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        fix = "let TOOL_REGISTRY_SECRETS__FOLDER name a folder that this user can read"
        return [wrong("secrets", f"{folder} cannot be read", fix)]
    return [fine("secrets", f"{folder} can be read")]
