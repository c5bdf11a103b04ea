"""The packages that functions need, as wheels for Lambda's machine, with nothing that a function does not run."""

import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

PLATFORMS: Final = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
"""Machine, as Lambda calls it, to platform: Amazon Linux 2023 has glibc 2.34, and most wheels ask for less."""

HERE: Final = "x86_64" if platform.machine().lower() in ("x86_64", "amd64") else "arm64"
"""This machine, for artefacts that are run here; they are for Linux."""

PYTHON: Final = "3.13"
_INSTALL_WITHIN_S: Final = 300

# Parts of packages that no function runs; the rest of what is left out are kinds of files.
_LEFT_OUT: Final = re.compile(
    r"(^|/)(tests?|testing|examples|__pycache__)/"
    r"|^boto3/(data|ec2|s3)/"
    r"|^urllib3/contrib/(?!__init__)"
    r"|^dateutil/zoneinfo/.*\.tar\.gz$"
    r"|^bin/"
    r"|\.dist-info/"
    r"|\.(pyi|pyx|pxd|c|h|hpp|cc|md|rst|txt)$"
    r"|(^|/)py\.typed$"
    r"|^aws_lambda_powertools/(event_handler|utilities/(?!__init__|jmespath_utils))"
    r"|^aiohttp/.*\.so$"  # the SDK imports it and speaks through awscrt
)
_SERVICE_DATA: Final = re.compile(r"^botocore/data/([a-z0-9-]+)/")
_OLD_DATA: Final = re.compile(r"^botocore/data/[a-z0-9-]+/[^/]+/(examples-1|paginators-1|waiters-2|completions-1)\.")
_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==")


class PackagingError(Exception):
    """An artefact cannot be made; the text says why."""


def pins(requirements: str, names: frozenset[str]) -> str:
    """Return those lines of a requirements file, hashes included, that are about `names`.

    Raises:
        PackagingError: a name is not there.
    """
    kept: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in requirements.splitlines():
        match = _PIN.match(line)
        if match:
            name = _canonical(match[1])
            lines = kept.setdefault(name, []) if name in names else []
        lines.append(line)
    missing = names - kept.keys()
    if missing:
        raise PackagingError(f"requirements.txt does not pin {', '.join(sorted(missing))}")
    return "\n".join(line for name in sorted(kept) for line in kept[name]) + "\n"


def install(uv: Path, requirements: Path, names: frozenset[str], *, machine: str, into: Path) -> None:
    """Install the wheels of `names` for a machine into a folder, each checked by its hash.

    Raises:
        PackagingError: one cannot be had.
    """
    into.mkdir(parents=True, exist_ok=True)
    chosen = into.with_suffix(".txt")
    chosen.write_text(pins(requirements.read_text(encoding="utf-8"), names), encoding="utf-8")
    command = [
        *(str(uv), "pip", "install", "--quiet", "--no-config", "--require-hashes", "--no-deps"),
        *("--only-binary", ":all:", "--python-version", PYTHON, "--python-platform", PLATFORMS[machine]),
        *("--link-mode", "copy", "--target", str(into), "-r", str(chosen)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_WITHIN_S, check=False)
    if done.returncode:
        raise PackagingError(f"uv could not install for {machine}:\n{done.stderr.strip()}")


def files_of(folder: Path, names: frozenset[str], services: frozenset[str]) -> Iterator[PurePosixPath]:
    """Yield the files, relative to the folder that they are installed in, that a function needs of its packages.

    Raises:
        PackagingError: a package is not installed there.
    """
    installed = {_canonical(path.name.split("-")[0]): path for path in folder.glob("*.dist-info")}
    for name in sorted(names):
        if name not in installed:
            raise PackagingError(f"{name} is not installed")
        for line in (installed[name] / "RECORD").read_text(encoding="utf-8").splitlines():
            file = PurePosixPath(line.rpartition(",")[0].rpartition(",")[0].strip('"'))
            if _wanted(str(file), services):
                yield file


def _wanted(file: str, services: frozenset[str]) -> bool:
    if file.startswith(("../", "/")) or _LEFT_OUT.search(file) or _OLD_DATA.match(file):
        return False
    service = _SERVICE_DATA.match(file)
    return service is None or service[1] in services


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
