"""All checks together."""

from collections.abc import Iterator
from typing import Final

from infra.checks import api, functions, iam, network, redis, secrets, tables, watch
from infra.checks.template import Finding, Template

_CHECKS: Final = (
    api.check,
    functions.check,
    iam.check,
    network.check,
    redis.check,
    secrets.check,
    tables.check,
    watch.check,
)


def findings(template: Template) -> Iterator[Finding]:
    """Yield everything that is wrong with a compiled template."""
    for check in _CHECKS:
        yield from check(template)
