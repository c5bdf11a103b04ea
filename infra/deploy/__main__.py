"""``python -m infra.deploy TEMPLATE``: our checks of the template, then those of the account; 1 if the deploy is refused."""

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from infra.checks import Template, findings
from infra.deploy.preflight import REGION, Level, preflight


@functools.cache
def _client(service: str) -> Any:
    config = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 3})
    return boto3.client(service, region_name=REGION, config=config)  # type: ignore[call-overload] # an overload for each


def main() -> int:
    """Look at everything and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="What is looked at before a deploy")
    parser.add_argument("template", type=Path, help="the compiled template")
    template = Template.read(parser.parse_args().template)
    refused = False
    for finding in findings(template):
        refused = True
        print(f"error    {finding.where}: {finding.what}")
    asked = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    if asked != REGION:
        print(f"warning  your region is {asked}; the gateway is deployed to {REGION}, from where Nova Sonic answers")
    for note in preflight(_client, template.document):
        refused = refused or note.level is Level.ERROR
        print(f"{note.level.value:<8} {note.text}")
    print("refused: nothing was deployed" if refused else f"stage {template.stage} may be deployed")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
