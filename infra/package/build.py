"""All artefacts of one machine."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.package import archive, sources, wheels
from infra.package.functions import FUNCTIONS, MEGABYTE, Function

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = ROOT / "build"
LAMBDA: Final = "arm64"
"""The machine that serverless.yml names."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """What was made.

    Attributes:
        name: of the function.
        zipped_bytes: size of the zip.
        unzipped_bytes: of its files.
        most_bytes: what the zip may have.
        archive: the zip.
        folder: its files, not zipped.
    """

    name: str
    zipped_bytes: int
    unzipped_bytes: int
    most_bytes: int
    archive: Path
    folder: Path


def output_of(machine: str) -> Path:
    """Return where the zips of a machine go; those of Lambda's own are where serverless.yml looks for them."""
    return BUILD / ("package" if machine == LAMBDA else f"package-{machine}")


def build_all(uv: Path, *, machine: str, root: Path = ROOT) -> Iterator[Artefact]:
    """Make the artefact of every function; yields each when it is made.

    Raises:
        wheels.PackagingError: a package is missing, or a zip is too large.
    """
    output, installed = output_of(machine), BUILD / "wheels" / machine
    for folder in (output, installed):
        shutil.rmtree(folder, ignore_errors=True)
    names = frozenset[str]().union(*(function.packages for function in FUNCTIONS.values()))
    wheels.install(uv, root / "requirements.txt", names, machine=machine, into=installed)
    output.mkdir(parents=True)
    # Once here, since most files are in several artefacts; packages go without their sources, which halves what is loaded.
    archive.compile_all(installed, beside=True)
    for name, function in FUNCTIONS.items():
        yield _build(name, function, installed=installed, output=output, root=root)


def _build(name: str, function: Function, *, installed: Path, output: Path, root: Path) -> Artefact:
    folder = output / name
    assemble(function, folder, installed=installed, root=root)
    zipped = folder.with_suffix(".zip")
    archive.pack(folder, zipped)
    size = zipped.stat().st_size
    if size > function.most_bytes:
        raise wheels.PackagingError(
            f"{name}.zip has {size / MEGABYTE:.2f} MB and may have {function.most_bytes / MEGABYTE:.0f}"
        )
    unzipped = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Artefact(name, size, unzipped, function.most_bytes, zipped, folder)


def assemble(function: Function, folder: Path, *, installed: Path, root: Path = ROOT, compiled: bool = True) -> None:
    """Put a function's files into a new folder.

    Args:
        function: which.
        folder: made here.
        installed: where its packages are installed, byte-compiled beside their sources if `compiled`.
        root: the repository.
        compiled: take packages without their sources, and compile ours.
    """
    folder.mkdir()
    for file in sources.reached(root, function.handler, without=function.without).values():
        _copy(root, file.relative_to(root), folder)
    if compiled:
        archive.compile_all(folder)
    for relative in wheels.files_of(installed, function.packages, function.services):
        is_source = relative.suffix == ".py"
        _copy(installed, Path(relative.with_suffix(".pyc") if is_source and compiled else relative), folder)


def _copy(base: Path, relative: Path, folder: Path) -> None:
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(base / relative, target)
