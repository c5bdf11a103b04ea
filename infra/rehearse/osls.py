"""The deploy's own commands, told to speak to ministack."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from infra.package.build import BUILD, ROOT, output_of
from infra.package.wheels import HERE

STAGE: Final = "dev"
KEY: Final = "rehearsal"
"""Id and secret of the operator's access key."""

PROGRAM: Final = ROOT / "node_modules" / ".bin" / "osls"
_TEMPLATE: Final = "cloudformation-template-update-stack.json"
_STATE: Final = "serverless-state.json"
_WITHIN_S: Final = 300
_KEPT: Final = ("PATH", "HOME", "LANG", "TMPDIR")


class DeployError(Exception):
    """A command of the deploy failed; the text has its output."""


class Osls:
    """Runs osls.

    Args:
        endpoint: of ministack.
        folder: where the packaged service is put.
    """

    def __init__(self, endpoint: str, folder: Path) -> None:
        self._endpoint = endpoint
        self._folder = folder

    def package(self, settings: Mapping[str, str]) -> dict[str, Any]:
        """Compile the service and return its template."""
        self._run(["package"], settings)
        document: dict[str, Any] = json.loads((self._folder / _TEMPLATE).read_text(encoding="utf-8"))
        return document

    def deploy(self, template: Mapping[str, Any], settings: Mapping[str, str]) -> str:
        """Deploy what was packaged last, with another template and the artefacts for this machine; return the output."""
        (self._folder / _TEMPLATE).write_text(json.dumps(template), encoding="utf-8")
        state = json.loads((self._folder / _STATE).read_text(encoding="utf-8"))
        state["service"]["provider"]["compiledCloudFormationTemplate"] = template
        for name, function in state["service"]["functions"].items():
            function["package"]["artifact"] = str((output_of(HERE) / f"{name}.zip").relative_to(ROOT))
        (self._folder / _STATE).write_text(json.dumps(state), encoding="utf-8")
        return self._run(["deploy"], settings)

    def remove(self) -> str:
        """Remove the stack; return the output."""
        return self._run(["remove"], {}, packaged=False)

    def _run(self, command: list[str], settings: Mapping[str, str], *, packaged: bool = True) -> str:
        environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            **settings,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SLS_NOTIFICATIONS_MODE": "off",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        where = ["--package", str(self._folder.relative_to(ROOT))] if packaged else []
        done = subprocess.run(
            [str(PROGRAM), *command, "--stage", STAGE, *where],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
        if done.returncode:
            raise DeployError(f"osls {' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout


def package_folder() -> Path:
    """Return where the rehearsal's packaged service is."""
    return BUILD / "rehearse" / "service"
