"""What no linter sees: assertions over the compiled template, some of them against the code that it deploys.

``python -m infra.checks TEMPLATE...`` runs them all; so do the tests, and `make deploy` before it deploys.
"""

from infra.checks.all import findings
from infra.checks.template import Finding, Template

__all__ = ["Finding", "Template", "findings"]
