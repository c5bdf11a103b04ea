"""``python -m infra.vet --checkov FILE --guard FILE --rules FOLDER TEMPLATE...``: run both tools and explain what they find."""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_WITHIN_S: Final = 300
_ACCEPTED: Final = Path(__file__).with_name("accepted.yml")
_RESOURCE: Final = re.compile(r"/Resources/([A-Za-z0-9]+)")

type Found = dict[tuple[str, str], set[str]]
"""Tool and rule, to the resources that it is about."""


def main() -> int:
    """Run the tools; 0 if every finding has a reason and every reason a finding."""
    parser = argparse.ArgumentParser(prog="python -m infra.vet", description="Other people's checks, with reasons")
    parser.add_argument("--checkov", type=Path, required=True, help="the program")
    parser.add_argument("--guard", type=Path, required=True, help="the program cfn-guard")
    parser.add_argument("--rules", type=Path, required=True, help="folder of cfn-guard's rules")
    parser.add_argument("templates", type=Path, nargs="+")
    options = parser.parse_args()
    accepted = _accepted(yaml.safe_load(_ACCEPTED.read_text(encoding="utf-8")))
    found: Found = {}
    for template in options.templates:
        for tool, rule, resource in (
            *_checkov(options.checkov, template),
            *_guard(options.guard, options.rules, template),
        ):
            found.setdefault((tool, rule), set()).add(resource)
    wrong = list(compare(found, accepted))
    for (tool, rule), resources in sorted(found.items()):
        reason = accepted.get((tool, rule), (frozenset(), "NO REASON"))[1]
        print(f"{tool} {rule} ({len(resources)}): {reason}")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    print(f"{len(found)} rules with findings, {len(wrong)} unexplained or stale")
    return 1 if wrong else 0


def compare(found: Found, accepted: Mapping[tuple[str, str], tuple[frozenset[str], str]]) -> Iterator[str]:
    """Yield findings that nobody explains, and explanations of nothing."""
    for (tool, rule), resources in sorted(found.items()):
        explained = accepted.get((tool, rule), (frozenset[str](), ""))[0]
        for resource in sorted(resources - explained):
            yield f"{tool} {rule}: {resource} has no reason in accepted.yml"
    for (tool, rule), (expected, _) in sorted(accepted.items()):
        for resource in sorted(expected - found.get((tool, rule), set())):
            yield f"{tool} {rule}: {resource} is accepted and was not found"


def _accepted(document: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], tuple[frozenset[str], str]]:
    return {
        (tool, rule): (frozenset(entry["resources"]), entry["reason"])
        for tool, rules in document.items()
        for rule, entry in rules.items()
    }


def _checkov(program: Path, template: Path) -> Iterator[tuple[str, str, str]]:
    command = [str(program), "-f", str(template), "--framework", "cloudformation", "secrets"]
    reports = json.loads(_output([*command, "--skip-download", "--compact", "--quiet", "-o", "json"]))
    for report in reports if isinstance(reports, list) else [reports]:
        for failed in report.get("results", {}).get("failed_checks", []):
            yield "checkov", failed["check_id"], failed["resource"].rpartition(".")[2]


def _guard(program: Path, rules: Path, template: Path) -> Iterator[tuple[str, str, str]]:
    command = [str(program), "validate", "-d", str(template), "-r", str(rules)]
    for report in json.loads(_output([*command, "--output-format", "json", "--structured", "--show-summary", "none"])):
        for failed in report.get("not_compliant", []):
            for resource in set(_RESOURCE.findall(json.dumps(failed))):
                yield "cfn-guard", failed["Rule"]["name"], resource


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
    if not done.stdout.strip():
        raise SystemExit(f"{command[0]} said nothing: {done.stderr.strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
