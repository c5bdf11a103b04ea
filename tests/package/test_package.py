"""The artefacts: what they hold, what they leave out, and that a handler runs from its own alone."""

import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import boto3
import pytest
from packaging.requirements import Requirement

from infra.package import archive, sources, wheels
from infra.package.build import ROOT, assemble
from infra.package.functions import FUNCTIONS, Function

SITE = Path(boto3.__file__).parents[1]
ROOTS = {
    "authorize": ["pyjwt[crypto]"],
    "connect": ["boto3"],
    "stream": ["boto3", "hiredis"],
    "disconnect": ["hiredis"],
    "relay": [
        *("aws-lambda-powertools", "aws-sdk-bedrock-runtime[awscrt]", "boto3", "pydantic"),
        *("redis[hiredis]", "structlog", "uvloop"),
    ],
    "finish": ["aws-lambda-powertools", "boto3", "hiredis", "pydantic", "structlog"],
}
LAMBDA = {"python_version": "3.13", "sys_platform": "linux", "platform_machine": "aarch64"}


def closure(names: list[str]) -> set[str]:
    """All distributions that these need on Lambda, by what they say of themselves."""
    found: dict[tuple[str, frozenset[str]], Requirement] = {}
    left = [Requirement(name) for name in names]
    while left:
        wanted = left.pop()
        key = (re.sub(r"[-_.]+", "-", wanted.name).lower(), frozenset(wanted.extras))
        if key in found:
            continue
        found[key] = wanted
        for text in requires(wanted.name) or []:
            needed = Requirement(text)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({**LAMBDA, "extra": extra}) for extra in extras):
                left.append(needed)
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """Each function's files as they would be zipped, with the packages installed here."""
    folder = tmp_path_factory.mktemp("artefacts")
    for name, function in FUNCTIONS.items():
        assemble(function, folder / name, installed=SITE, compiled=False)
    return folder


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_artefact_has_all_that_its_packages_need(name):
    """The table lists every distribution that the roots need on Lambda, and none besides."""
    assert FUNCTIONS[name].packages == closure(ROOTS[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_handler_imports_from_its_artefact_alone(name, artefacts):
    """Nothing of this repository or its environment is on the path, and no warning is given."""
    lazily = [
        module
        for module in sources.reached(ROOT, f"handlers.{name}", without=FUNCTIONS[name].without)
        if module.startswith("handlers.")
    ]
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; sys.path.insert(0, {str(artefacts / name)!r});"
        f"import importlib; [importlib.import_module(m) for m in {lazily!r}];"
        f"assert callable(importlib.import_module('handlers.{name}').handler)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-B", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr


def test_aws_clients_can_be_made_from_an_artefact(artefacts):
    """The descriptions of exactly the services that a function calls are there."""
    for name, function in FUNCTIONS.items():
        if not function.services:
            continue
        code = (
            f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; sys.path.insert(0, {str(artefacts / name)!r});"
            f"import boto3; s = boto3.session.Session('a', 'b', region_name='us-east-1');"
            f"[s.client(n) for n in {sorted(function.services)!r}]; print(sorted(s.get_available_services()))"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-B", "-c", code], check=False, capture_output=True, text=True, timeout=60, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(sorted(function.services))


def test_the_stream_function_carries_no_large_package(artefacts):
    """Its cold start is in the way of a learner's first word."""
    assert not {path.name for path in (artefacts / "stream").iterdir()} & {"pydantic", "structlog", "redis", "awscrt"}
    assert not list((artefacts / "stream" / "gateway" / "core").glob("conversation"))


def test_an_artefact_has_no_rubbish(artefacts):
    """No stubs, tests, metadata or C sources."""
    left = [
        str(path) for path in artefacts.rglob("*") if path.suffix in {".pyi", ".c", ".md"} or "dist-info" in path.name
    ]
    assert left == []


def test_sources_follow_imports_within_functions(tmp_path):
    """A lazy import counts, one for type checkers does not, and packages come with their __init__."""
    for name, text in {
        "handlers/__init__": "",
        "handlers/a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gateway.never\ndef f():\n    from gateway.b import c\n",
        "gateway/__init__": "",
        "gateway/b": "import json\n",
        "gateway/never": "",
        "gateway/other": "",
    }.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = sources.reached(tmp_path, "handlers.a")
    assert set(found) == {"handlers", "handlers.a", "gateway", "gateway.b"}
    assert set(sources.reached(tmp_path, "handlers.a", lazily=False)) == {"handlers", "handlers.a"}
    assert set(sources.reached(tmp_path, "handlers.a", without=frozenset({"gateway.b"}))) == {"handlers", "handlers.a"}


def test_pins_keep_the_hashes():
    """Only what is asked for, with its hashes; what is not pinned is refused."""
    text = "a==1 \\\n    --hash=sha256:aa\nb-c==2 \\\n    --hash=sha256:bb\n"
    assert wheels.pins(text, frozenset({"b-c"})) == "b-c==2 \\\n    --hash=sha256:bb\n"
    with pytest.raises(wheels.PackagingError, match="zzz"):
        wheels.pins(text, frozenset({"a", "zzz"}))


def test_every_package_is_pinned_with_hashes():
    """What the artefacts are made of is in requirements.txt."""
    text = (ROOT / "requirements.txt").read_text()
    for function in FUNCTIONS.values():
        for line in wheels.pins(text, function.packages).splitlines():
            assert "==" in line or "--hash=sha256:" in line


def test_a_zip_is_the_same_whenever_it_is_made(tmp_path):
    """Order, times and modes are fixed, and byte code is never checked against its source."""
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "b.py").write_text("x = 1\n")
    (folder / "a.txt").write_text("a")
    archive.compile_all(folder)
    archive.pack(folder, tmp_path / "1.zip")
    (folder / "b.py").touch()
    archive.pack(folder, tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as opened:
        compiled = next(name for name in opened.namelist() if name.endswith(".pyc"))
        assert opened.read(compiled)[4:8] == (1).to_bytes(4, "little"), "hash-based and unchecked (PEP 552)"


def test_modules_compiled_beside_their_sources_run_without_them(tmp_path):
    """So packages can go without their sources."""
    (tmp_path / "only_compiled.py").write_text("VALUE = 42\n")
    archive.compile_all(tmp_path, beside=True)
    (tmp_path / "only_compiled.py").unlink()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import only_compiled; print(only_compiled.VALUE)"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=False, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "42", done.stderr


def test_a_module_that_is_missing_is_noticed(tmp_path):
    """Were a package left out, the import above would fail."""
    poor = Function(handler="handlers.authorize", packages=frozenset({"pyjwt"}), most_bytes=1)
    assemble(poor, tmp_path / "poor", installed=SITE, compiled=False)
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; sys.path.insert(0, {str(tmp_path / 'poor')!r});"
        "from jwt.algorithms import has_crypto; import cryptography"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code], check=False, capture_output=True, text=True, timeout=30
    )
    assert "ModuleNotFoundError" in done.stderr
    with pytest.raises(PackageNotFoundError):
        requires("no-such-distribution")
