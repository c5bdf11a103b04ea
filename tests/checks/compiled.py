"""Compiles serverless.yml with the pinned framework, in a folder of its own."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from infra.checks import Template
from infra.package.build import ROOT
from infra.package.functions import FUNCTIONS

OSLS = ROOT / "node_modules" / ".bin" / "osls"
TEMPLATE = "cloudformation-template-update-stack.json"
STAGES: dict[str, dict[str, str]] = {
    "dev": {},
    "staging": {"MAYA_EGRESS": "nat"},
    "prod": {
        "MAYA_DOMAIN": "example.com",
        "MAYA_HOSTED_ZONE_ID": "Z0123456789ABC",
        "MAYA_FRONT": "front",
        "MAYA_ALARM_EMAIL": "operator@example.com",
    },
}
"""Stage to what the operator sets, so that every file of infra/ is in one of them."""


def compile_stages(folder: Path) -> dict[str, Template]:
    """Return the compiled template of each stage."""
    if not OSLS.exists():
        pytest.skip("the Serverless Framework is not installed: needs Node.js, then `make node_modules/.ready`")
    (folder / "build" / "package").mkdir(parents=True)
    for name in FUNCTIONS:
        with zipfile.ZipFile(folder / "build" / "package" / f"{name}.zip", "w") as artefact:
            artefact.writestr("empty", "")
    # The framework takes no links.
    for file in [ROOT / "serverless.yml", *(ROOT / "infra").rglob("*.yml"), *(ROOT / "infra" / "redis").glob("*.json")]:
        target = folder / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAYA_", "AWS_"))}
    # One at a time: each takes a second, nearly all of it on one core.
    for stage, settings in STAGES.items():
        done = subprocess.run(
            [str(OSLS), "package", "--stage", stage, "--package", f"out/{stage}"],
            cwd=folder,
            env={**environ, **settings, "SLS_NOTIFICATIONS_MODE": "off"},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{stage}: {done.stdout}{done.stderr}"
    return {stage: Template.read(folder / "out" / stage / TEMPLATE) for stage in STAGES}
