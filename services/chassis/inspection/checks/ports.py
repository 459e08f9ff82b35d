"""Whether a service could listen where it is told to."""

import errno
import os
import socket
from pathlib import Path
from shutil import disk_usage
from typing import Final

from services.chassis.http import host_and_port
from services.chassis.inspection.finding import Finding, doubtful, fine, wrong

LITTLE_BYTES: Final = 1024**3
TOO_LITTLE_BYTES: Final = 100 * 1024**2


def port(variable: str, listen: str) -> Finding:
    """Whether somebody could listen there now."""
    try:
        host, number = host_and_port(listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host.strip("[]"), number))
            sock.listen(1)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            fix = f"stop what uses it, or set {variable} to another"
            return wrong("port", f"{listen} is taken", fix)
        said = getattr(error, "strerror", None) or str(error)
        return wrong("port", f"cannot listen on {listen}: {said}", f"set {variable} to HOST:PORT")
    return fine("port", f"{listen} is free")


def disk(check: str, folder: Path) -> Finding:
    """Whether there is room where this folder is, or would be made."""
    there = nearest(folder)
    free = disk_usage(there).free
    message = f"{free / 1024**3:.1f} GiB are free at {there}"
    fix = "make room, or choose another folder"
    if free < TOO_LITTLE_BYTES:
        return wrong(check, message, fix)
    return doubtful(check, message, fix) if free < LITTLE_BYTES else fine(check, message)


def nearest(folder: Path) -> Path:
    """The folder, or the one above it that is there, as far as this user can see. A link that leads
    nowhere is there: nothing can be made in its place."""
    path = folder.absolute()
    while not os.path.lexists(path):  # Which does not mind what it may not see.
        path = path.parent
    return path
