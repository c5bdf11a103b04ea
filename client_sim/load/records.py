"""RUN.jsonl: what a run has measured, one JSON object a line, every sample by itself.

The first line is the manifest; what follows comes as it happened, and an interrupted run ends with its last whole line.

| ``kind`` | what | fields beside ``at_s``, ``phone``, ``call``, ``region`` |
|---|---|---|
| ``run`` | manifest | ``format``, ``label``, ``target``, ``settings``, ``regions``, ``machine``, ``versions``, ... |
| ``begun`` | the first phone may call | ``began_at``, the wall clock |
| ``turn`` | the learner spoke and Maya answered, or did not | ``v2v_ms``, ``waited_ms`` until the learner spoke again, ``first_byte_ms``, ``noticed_ms``, ``buffer_ms``, ``leading_ms``, ``interrupting`` |
| ``round_trip`` | ping and pong through the whole path | ``ms``, ``true_ms`` of the simulated line alone |
| ``gap`` | a piece of Maya's speech came too late within a sentence | ``ms`` of silence |
| ``pause`` | the same before a new sentence, where silence may be her own | ``ms`` of silence |
| ``barge_in`` | the learner spoke over Maya | ``stop_ms`` from onset to silence at the speaker |
| ``drop``, ``resume`` | the line was lost; the conversation went on | ``code``; ``outage_ms``, ``frames`` sent again |
| ``lag_notice``, ``lag_prompt``, ``lag_cleared`` | what the gateway says of lag | ``lag_ms``, ``cause``, ``true_ms``, ``why`` |
| ``error`` | an `error` message | ``code``, ``fatal`` |
| ``part`` | the test moved on | ``part`` |
| ``call`` | a conversation is over | ``ended`` (finished, stopped, cut, failed), set-up, counts, ``maya_spoke`` |
| ``second`` | the tester itself, each second and process | ``cpu`` (1 = a core), ``phones``, ``slip`` and ``loop`` (`Histogram` counts) |
| ``end`` | the run is over | ``why`` |
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import urlsplit

from client_sim.load.settings import HERE, LoadSettings
from client_sim.regions.profiles import region

FORMAT: Final = "maya-load/1"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class RunFile:
    """Writes records; each is whole on the disk when the call returns.

    Args:
        path: is replaced.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one record."""
        self._file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Hand all records to the system."""
        self._file.flush()

    def close(self) -> None:
        """No more records."""
        self._file.close()


def manifest(settings: LoadSettings, corpus: bytes) -> dict[str, Any]:
    """What a reader needs to know of a run, and to repeat it; never a token, nor the command that prints one.

    Args:
        settings: of the run.
        corpus: all that learners can say.
    """
    place = urlsplit(settings.url)
    local = place.hostname in _LOOPBACK
    given = asdict(settings)
    for private in ("token_command", "out", "ca"):
        given.pop(private)
    given["speech"] = Path(settings.speech).name if settings.speech else None
    given["url"] = f"{place.scheme}://{place.hostname}{place.path}"
    return {
        "kind": "run",
        "format": FORMAT,
        "at_s": 0.0,
        "label": settings.label,
        "target": "local cloud (emulator)" if local else "real cloud",
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": given,
        "regions": {name: _region(name) for name in dict.fromkeys(settings.regions)},
        "corpus": {"sha256": hashlib.sha256(corpus).hexdigest(), "bytes": len(corpus)},
        "command": _command(settings),
        "versions": {
            "client_sim": _version("maya-speech-gateway"),
            "commit": _commit(),
            "python": platform.python_version(),
            "websockets": _version("websockets"),
        },
        "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


def _region(name: str) -> dict[str, Any]:
    if name == HERE:
        return {"says": "the line of this machine, nothing added", "round_trip_ms": None, "source": ""}
    found = region(name)
    return {**asdict(found), "round_trip_ms": found.round_trip_ms}


def _command(settings: LoadSettings) -> str:
    where = "--here" if settings.regions == (HERE,) else f"--region {','.join(settings.regions)}"
    frames = f"--frame-ms {settings.frame_ms} " if settings.frame_ms else ""
    speech = f" --speech {Path(settings.speech).name}" if settings.speech else ""
    return (
        f"python -m client_sim load --url URL --token-command CMD --phones {settings.phones} "
        f"--minutes {settings.minutes:g} --ramp {settings.ramp_s:g} {where} --label {settings.label!r} "
        f"{frames}--seed {settings.seed} --barge-in {settings.barge_in:g}{speech} --out RUN.jsonl"
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the program's own folder, where that is known."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def fail_early(path: Path) -> None:
    """Find out now, not after the run, that a file cannot be written.

    Raises:
        OSError: it cannot.
    """
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no such directory")
    if sys.platform != "win32" and path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path}: not writable")
