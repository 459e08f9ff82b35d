"""What `runplane doctor` looks at for this service: the folder of secrets."""

import asyncio
import os
from pathlib import Path

from services.chassis.inspection.finding import Finding, fine, wrong
from services.tool_registry.settings import Settings


async def checks(settings: Settings) -> list[Finding]:
    """What is found."""
    if (folder := settings.secrets.folder) is None:
        return []
    if not await asyncio.to_thread(_can_be_read, folder):
        fix = "let TOOL_REGISTRY_SECRETS__FOLDER name a folder that this user can read"
        return [wrong("secrets", f"{folder} cannot be read", fix)]
    return [fine("secrets", f"{folder} can be read")]


def _can_be_read(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK, effective_ids=True)
