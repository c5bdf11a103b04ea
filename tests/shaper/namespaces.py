"""Two hosts on one machine: network namespaces, and a measurement between them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.shaper.probe import Seen

_NET: Final = "10.213.7"
_PORT: Final = 8765
_WITHIN_S: Final = 120


def impossible() -> str | None:
    """Why there can be no namespaces here, None where there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if not shutil.which("ip") or not shutil.which("tc"):
        return "iproute2 is not installed (ip, tc)"
    name = f"maya-try-{os.getpid()}"
    tried = run("ip", "netns", "add", name, check=False)
    run("ip", "netns", "del", name, check=False)
    return None if tried.returncode == 0 else f"no network namespace can be made: {tried.stderr.strip()}"


@contextmanager
def two() -> Iterator[tuple[str, str]]:
    """Two namespaces: the phone's and the gateway's; both are gone afterwards."""
    names = (f"maya-phone-{os.getpid()}", f"maya-gateway-{os.getpid()}")
    try:
        for name in names:
            run("ip", "netns", "add", name)
        yield names
    finally:
        for name in names:
            run("ip", "netns", "del", name, check=False)


def configure(namespace: str, device: str, address: int) -> None:
    """Give a device its address; 1 is the phone, 2 the gateway."""
    run("ip", "-n", namespace, "addr", "add", f"{_NET}.{address}/24", "dev", device)
    run("ip", "-n", namespace, "link", "set", device, "up")


def measure(phone: str, gateway: str, plan: dict[str, Any]) -> Seen:
    """Do what a plan says, from one namespace to the other, over whatever line there is between them."""
    server = subprocess.Popen(
        ["ip", "netns", "exec", gateway, sys.executable, "-m", "tests.shaper.probe", "--serve", f"{_NET}.2:{_PORT}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        url = f"ws://{_NET}.2:{_PORT}/dev"
        asked = ["ip", "netns", "exec", phone, sys.executable, "-m", "tests.shaper.probe", "--ask", url]
        told = json.loads(run(*asked, "--plan", json.dumps(plan)).stdout)
    finally:
        server.kill()
        server.wait()
    return Seen(told["up"], told["down"], *told["rates"])


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed, and ``check`` is set.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=_WITHIN_S)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{' '.join(command[:6])} failed: {error.stderr.strip()[-400:]}") from None
