"""The compiled templates, made once."""

import pytest

from infra.checks import Template
from tests.checks.compiled import compile_stages


@pytest.fixture(scope="session")
def templates(tmp_path_factory) -> dict[str, Template]:
    """By stage."""
    return compile_stages(tmp_path_factory.mktemp("compiled"))
