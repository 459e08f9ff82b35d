"""Ports to listen on."""

import errno
import socket


def is_free(host: str, port: int) -> bool:
    """Whether somebody could listen there now."""
    return obstacle(host, port) is None


def obstacle(host: str, port: int) -> OSError | None:
    """Why nobody could listen there now; None if somebody could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error
    return None


def is_taken(error: OSError) -> bool:
    """Whether the port is at fault, and not the address."""
    return error.errno == errno.EADDRINUSE


def free(host: str, *, preferred: int = 0, taken: set[int]) -> int:
    """A free port, `preferred` if it can be had, that is not in `taken`; it is added there."""
    if preferred and preferred < 65_536 and preferred not in taken and is_free(host, preferred):
        taken.add(preferred)
        return preferred
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with socket.create_server((host, 0), family=family) as sock:
            port = int(sock.getsockname()[1])
        if port not in taken:
            taken.add(port)
            return port


def joined(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
