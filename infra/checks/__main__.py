"""``python -m infra.checks TEMPLATE...``: say what is wrong with compiled templates; 1 if anything is."""

import argparse
import sys
from pathlib import Path

from infra.checks.all import findings
from infra.checks.template import Template


def main() -> int:
    """Check the templates."""
    parser = argparse.ArgumentParser(prog="python -m infra.checks", description="Checks over compiled templates")
    parser.add_argument("templates", type=Path, nargs="+")
    wrong = 0
    for file in parser.parse_args().templates:
        template = Template.read(file)
        for finding in findings(template):
            wrong += 1
            print(f"{file}: {finding.where}: {finding.what}")
        print(f"{file}: {len(template.resources)} resources, stage {template.stage}")
    print(f"{wrong} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
