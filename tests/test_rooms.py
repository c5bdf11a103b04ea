"""Which room may import which: the picture in the README stays true."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("gateway", "handlers", "infra", "client_sim", "tests")

# The first room that a module's name begins with decides; a room may always import itself.
MAY_IMPORT = {
    "gateway.core": (),
    "gateway.contract": ("gateway.core",),
    "gateway.settings": (),
    "gateway.adapters": ("gateway.core", "gateway.settings"),
    "gateway.ports": ("gateway.core",),
    "gateway.nova_line": ("gateway.core", "gateway.ports"),
    "gateway.phone_line": ("gateway.core", "gateway.ports"),
    "gateway.saving": ("gateway.core", "gateway.ports"),
    "gateway.session_keeper": ("gateway.core", "gateway.ports"),
    "gateway.relay": (
        "gateway.core",
        "gateway.ports",
        "gateway.nova_line",
        "gateway.phone_line",
        "gateway.saving",
        "gateway.session_keeper",
    ),
    "gateway.relay_service": ("gateway",),
    "handlers": ("gateway",),
    "client_sim": ("gateway.core",),
    "infra.checks": ("gateway", "infra"),
    "infra.deploy": ("gateway", "infra"),
    "infra.cost": ("gateway", "infra"),
    "infra": (),
}

CORE_NEVER = {
    "aiohttp", "asyncio", "boto3", "botocore", "logging", "os", "random", "redis", "requests", "secrets", "socket",
    "ssl", "structlog", "subprocess", "sys", "threading", "time", "urllib", "websockets",
}  # fmt: skip

FILES = [path for room in ROOMS[:-1] for path in sorted((ROOT / room).rglob("*.py"))]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


@pytest.mark.parametrize("path", FILES, ids=[module_of(path) for path in FILES])
def test_a_room_imports_only_what_it_may(path):
    """Core imports nothing of the rest; what stands in for AWS knows nothing of the product."""
    module = module_of(path)
    room = next((room for room in MAY_IMPORT if within(module, room)), None)
    if room is None:
        assert module == "gateway", f"{module} belongs to no room"
        return
    ours = [name for name in imports_of(path) if name.split(".")[0] in ROOMS]
    for name in ours:
        assert any(within(name, allowed) for allowed in (room, *MAY_IMPORT[room])), f"{module} imports {name}"


@pytest.mark.parametrize("path", [path for path in FILES if within(module_of(path), "gateway.core")], ids=module_of)
def test_the_core_has_no_input_output_or_clock(path):
    """Time and chance are passed in, and so is everything else."""
    assert not {name.split(".")[0] for name in imports_of(path)} & CORE_NEVER


def test_the_rule_sees_an_import():
    """A rule that cannot fail would show nothing."""
    assert "gateway.core.wire" in imports_of(ROOT / "client_sim" / "phone.py") | imports_of(
        ROOT / "client_sim" / "downlink.py"
    )
    assert within("gateway.core.wire", "gateway.core")
    assert not within("gateway.corex", "gateway.core")
