"""Program of every process in which functions run: ``python -P bootstrap.py template|environment JSON``.

It is started by its path and leaves no trace on ``sys.path``, so that a function imports only what lies in its own folder
and in site-packages.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Become the process named on the command line."""
    repository = str(Path(__file__).resolve().parents[3])
    sys.path.insert(0, repository)
    from infra.local.lambda_service import template  # noqa: PLC0415 # found only now

    sys.path.remove(repository)
    # A function's code may live elsewhere and have a package of the same name.
    for name in [name for name in sys.modules if name.partition(".")[0] == "infra"]:
        del sys.modules[name]
    role, start = sys.argv[1], json.loads(sys.argv[2])
    sys.argv = [role]
    if role == "template":
        template.template_main(start)
    template.environment_main(start)


if __name__ == "__main__":
    main()
