"""The processes of a rehearsal: ministack, Valkey, Nova Sonic's stand-in, our API Gateway and Lambda."""

import asyncio
import datetime as dt
import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from infra.local import certificates, cloud_config, valkey
from infra.local.supervisor import Part, Supervisor, file_appears
from infra.package.build import BUILD, ROOT
from infra.rehearse.osls import KEY

MINISTACK: Final = BUILD / "rehearse" / "env" / "bin" / "ministack"
_STOP_GATEWAY: Final = 0
_STOP_REST: Final = 1
_POLL_S: Final = 0.05
_KEPT: Final = ("PATH", "HOME", "LANG")


class Parts:
    """Starts them.

    Args:
        supervisor: keeps them, and ends them with itself.
        private: a folder that is gone afterwards.
    """

    def __init__(self, supervisor: Supervisor, private: Path) -> None:
        self._supervisor = supervisor
        self._private = private
        self._environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "TMPDIR": str(private / "tmp"),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "127.0.0.1,localhost",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name in ("tmp", "ready", "redis"):
            (private / name).mkdir()

    async def ministack(self) -> str:
        """Start ministack and return its address."""
        port = valkey.free_port()
        environment = {
            **{name: value for name, value in self._environment.items() if name != "PYTHONPATH"},
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOST": "127.0.0.1",
            "S3_PERSIST": "0",
            # Every request is held against the roles of who signed it; these keys alone may do everything.
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
        }
        await self._supervisor.start(
            Part(
                name="ministack",
                command=[str(MINISTACK)],
                environment=environment,
                ready=functools.partial(_listens, port),
                stop_stage=_STOP_REST,
            )
        )
        return f"http://127.0.0.1:{port}"

    async def redis(self, chosen: valkey.Valkey) -> None:
        """Start Valkey as a cluster of one node, as the deployed one is a cluster."""

        async def configuration() -> bytes:
            cluster = f"cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-port {valkey.free_port()}\n"
            return await chosen.configuration() + f"{cluster}dir {self._private / 'redis'}\n".encode()

        server = await asyncio.to_thread(valkey.server_path)
        await self._supervisor.start(
            Part(
                name="valkey",
                command=[str(server), "-"],
                environment=self._environment,
                ready=chosen.ready,
                stdin=configuration,
                stop_stage=_STOP_REST,
            )
        )
        await asyncio.to_thread(_give_slots, chosen)

    async def nova(self) -> tuple[str, str]:
        """Start Nova Sonic's stand-in; return its address and its certificate authority."""
        files = certificates.issue(self._private, now=dt.datetime.now(dt.UTC))
        arguments = ["--cert", str(files.certificate), "--key", str(files.key), "--voice", "plain"]
        ready = await self._module("nova", [*arguments, "--timing", "service"], stop_stage=_STOP_REST)
        return f"https://127.0.0.1:{ready['port']}", str(files.ca_bundle)

    async def gateway(self, config: cloud_config.CloudConfig) -> str:
        """Start API Gateway and Lambda; return where phones connect."""

        async def document() -> bytes:
            return json.dumps(cloud_config.dump(config)).encode()

        arguments = ["--config", "/dev/stdin"]
        ready = await self._module("cloud", arguments, stop_stage=_STOP_GATEWAY, stdin=document)
        return str(ready["websocket_url"])

    async def _module(
        self, name: str, arguments: list[str], *, stop_stage: int, stdin: Callable[[], Any] | None = None
    ) -> Mapping[str, Any]:
        ready = self._private / "ready" / f"{name}.json"
        await self._supervisor.start(
            Part(
                name=name,
                command=[sys.executable, "-m", f"infra.local.{name}", "--ready-file", str(ready), *arguments],
                environment=self._environment,
                ready=functools.partial(file_appears, ready),
                stdin=stdin,
                stop_stage=stop_stage,
                ready_within_s=120.0,
                grace_s=10.0,
            )
        )
        document: Mapping[str, Any] = json.loads(ready.read_text(encoding="utf-8"))
        return document


def _give_slots(chosen: valkey.Valkey) -> None:
    # Imported here: it takes 0.3 s.
    import redis  # noqa: PLC0415

    with redis.Redis.from_url(chosen.url("operator")) as connection:
        connection.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")


async def _listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_POLL_S)
            continue
        writer.close()
        return
