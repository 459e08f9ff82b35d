"""Files of a model hub (Hugging Face's protocol), and what every file of a model is held to."""

import hashlib
import os
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

import click

if TYPE_CHECKING:
    import httpx2

MAGIC: Final = b"GGUF"
_NAME: Final = re.compile(
    r"(?P<repo>[\w.-]{1,96}/[\w.-]{1,96})/(?P<file>[\w./ -]{1,256}\.gguf)"
    r"(@(?P<revision>[\w./-]{1,96}))?"
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SPARE_BYTES: Final = 64 * 1024 * 1024
_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Remote:
    """A file of a hub."""

    url: str
    size: int
    sha256: str
    """Empty where the hub does not say."""


def downloaded(
    source: str, folder: Path, endpoint: str, name: str | None, sha256: str | None
) -> Path:
    """The file `OWNER/REPO/FILE.gguf[@REVISION]`, in its place below the folder."""
    found = _NAME.fullmatch(source)
    if found is None or ".." in found["file"].split("/"):
        raise click.UsageError(f"hf:{source} is not hf:OWNER/REPO/FILE.gguf or …@REVISION")
    revision = found["revision"] or "main"
    path = f"{found['repo']}/resolve/{quote(revision, safe='')}/{quote(found['file'])}"
    target = folder / (name or Path(found["file"]).name)
    if not target.resolve().is_relative_to(folder.resolve()) or target.suffix != ".gguf":
        raise click.UsageError(f"{target.name} is not the name of a .gguf file within {folder}")
    import httpx2  # noqa: PLC0415 - takes 0.1 s, which other commands need not pay

    limits = httpx2.Timeout(_SECONDS, connect=10)
    with httpx2.Client(timeout=limits, follow_redirects=False) as client:
        try:
            remote = _looked_up(client, f"{endpoint.rstrip('/')}/{path}")
        except httpx2.HTTPError as error:
            raise _away(endpoint, error) from None
        try:
            part = _fetched(client, remote, target)
        except httpx2.HTTPError as error:
            raise click.ClickException(
                f"it was cut off ({error or type(error).__name__}); pull it again to go on"
            ) from None
    check_file(part, remote.size, sha256 or remote.sha256)
    os.replace(part, target)
    return target


def _looked_up(client: "httpx2.Client", url: str) -> _Remote:
    """Where a file is, how large it is, and its hash, from the answers on the way to it."""
    size, sha256, origin = 0, "", urlsplit(url).netloc
    for _ in range(_MAX_REDIRECTS):
        token = os.environ.get("HF_TOKEN", "")
        is_hub = urlsplit(url).netloc == origin
        headers = {"authorization": f"Bearer {token}"} if token and is_hub else {}
        reply = client.head(url, headers=headers)
        told = reply.headers.get("x-linked-etag", "").strip('"')
        sha256 = sha256 or (told if _SHA256.fullmatch(told) else "")
        size = size or _number(reply.headers.get("x-linked-size"))
        if reply.status_code not in _REDIRECTS:
            _check_status(reply.status_code, url)
            return _Remote(url, size or _number(reply.headers.get("content-length")), sha256)
        url = urljoin(url, reply.headers.get("location", ""))
    raise click.ClickException("the hub sends from one address to the next, without an end")


def _fetched(client: "httpx2.Client", remote: _Remote, target: Path) -> Path:
    """The file beside its place; what an earlier attempt has brought is gone on from."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.exists() else 0
    if have > remote.size:
        have = 0
    check_room(target.parent, remote.size - have)
    if have == remote.size and remote.size:
        return part
    headers = {"accept-encoding": "identity", **({"range": f"bytes={have}-"} if have else {})}
    with client.stream("GET", remote.url, headers=headers) as reply:
        if reply.status_code != 206:
            have = 0
        _check_status(reply.status_code, remote.url)
        with part.open("ab" if have else "wb") as file, progress(target.name, remote.size) as bar:
            bar.update(have)
            for block in reply.iter_raw():
                have += len(block)
                if have > remote.size > 0:
                    raise click.ClickException("the hub sends more than the file has")
                file.write(block)
                bar.update(len(block))
    return part


def check_file(path: Path, size: int, sha256: str | None) -> None:
    """Refuse, and remove, what is not the file that was asked for."""
    with path.open("rb") as file:
        is_model = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else ""
    whole = path.stat().st_size
    if size and whole < size:
        raise click.ClickException(
            f"{whole} of {size} bytes came before it was cut off; pull it again to go on"
        )
    problem = "is not a GGUF file" if not is_model else ""
    if sha256 and digest != sha256.lower():
        problem = f"has the SHA-256 {digest}, and not {sha256.lower()}"
    if problem:
        with suppress(OSError):
            path.unlink()
        raise click.ClickException(f"what came {problem}; nothing was kept")


def check_room(folder: Path, size: int) -> None:
    """Refuse what the disk has no room for."""
    free = shutil.disk_usage(folder).free
    if size + _SPARE_BYTES > free:
        needed, left = size / 2**20, free / 2**20
        raise click.ClickException(f"it has {needed:.0f} MiB, and {left:.0f} MiB are free")


def progress(name: str, size: int) -> Any:
    """A bar, where somebody looks."""
    return click.progressbar(length=size, label=name, file=sys.stderr)


def _check_status(code: int, url: str) -> None:
    if code in {401, 403}:
        raise click.ClickException(
            "the hub wants to know who asks: set HF_TOKEN, and take the model's terms there first"
        )
    if code == 404:
        raise click.ClickException(f"the hub has no such file: {url.partition('?')[0]}")
    if code not in {200, 206}:
        raise click.ClickException(f"the hub answers {code}; try again later")


def _away(endpoint: str, error: Exception) -> click.ClickException:
    why = str(error) or type(error).__name__
    return click.ClickException(
        f"{endpoint} cannot be reached ({why}). Without a network, pull a file that was brought "
        "here: runplane models pull ./model.gguf"
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
