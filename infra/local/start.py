"""Starts the parts of a local cloud that are not somebody else's, side by side where they do not need each other."""

import asyncio
import contextlib
import datetime as dt
import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local import aws, certificates, cloud_config, outside, tokens, valkey
from infra.local.deployment import ROOT, RedisUrls, deployment
from infra.local.environment import Addresses, local_environment, product_environment
from infra.local.options import Options
from infra.local.state import State
from infra.local.supervisor import MARK_NAME, Part, PartFailedError, Supervisor, file_appears

_PORT_TRIES = 3
_DEFAULT_LINES = 18
_USUAL_STREAMS = 20
# Stages of stopping: the gateway ends its conversations while all it needs is still there; Redis is the last.
_STOP_GATEWAY, _STOP_SERVICES, _STOP_REDIS = 0, 1, 2
# The human voice loads its models first; the gateway waits for it.
_NOVA_WITHIN_S = 90.0
_GATEWAY_WITHIN_S = 120.0
_GATEWAY_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class _Aws:
    dynamodb_url: str
    sqs_url: str
    finish_queue: aws.FinishQueue


@dataclass(frozen=True, slots=True)
class _Redis:
    operator_url: str
    functions: RedisUrls


@dataclass(frozen=True, slots=True)
class _Bedrock:
    url: str
    ca_bundle: str
    control_url: str
    voice: str
    voice_note: str


@dataclass(frozen=True, slots=True)
class _Issuer:
    url: str
    key_file: str


@dataclass(frozen=True, slots=True)
class _Backing:
    """What the gateway needs."""

    services: _Aws
    bedrock: _Bedrock
    redis: _Redis
    issuer: _Issuer


class Start:
    """One start of the local cloud: what the parts need from each other on the way up.

    Attributes:
        outside: which parts are somebody else's.
    """

    def __init__(
        self,
        options: Options,
        environment: Mapping[str, str],
        private: Path,
        supervisor: Supervisor,
        stack: contextlib.ExitStack,
    ) -> None:
        self.outside = outside.Outside.of(environment)
        self._options = options
        self._private = private
        self._supervisor = supervisor
        self._stack = stack
        self._local = local_environment(environment, self.outside, temporary=str(private / "tmp"))
        self._local[MARK_NAME] = private.name
        self._plan = options.plan or environment.get("MAYA_EXAM_PLAN") or "full"
        self._lines = options.lines or _lines(environment)
        self._names = aws.Names(
            environment.get("MAYA_USERS_TABLE") or aws.USERS_TABLE,
            environment.get("MAYA_ASSESSMENTS_TABLE") or aws.ASSESSMENTS_TABLE,
            environment.get("AWS_REGION") or aws.REGION,
        )

    async def run(self) -> State:
        """Start everything and return where it is; on failure the caller's supervisor stops what was started.

        Raises:
            PartFailedError, ValkeyMissingError, OutsideError, OSError: as ``up.local_cloud``.
        """
        try:
            async with asyncio.TaskGroup() as group:
                backing = group.create_task(self._backing())
                gateway = group.create_task(self._gateway(backing))
        except ExceptionGroup as failures:
            raise _first(failures) from None
        return self._state(backing.result(), gateway.result())

    async def _backing(self) -> _Backing:
        """Start what the gateway needs."""
        async with asyncio.TaskGroup() as group:
            services = group.create_task(self._aws())
            bedrock = group.create_task(self._bedrock())
            redis = group.create_task(self._redis())
            issuer = group.create_task(self._issuer())
        return _Backing(services.result(), bedrock.result(), redis.result(), issuer.result())

    async def _aws(self) -> _Aws:
        theirs = self.outside
        queue = aws.FinishQueue("", "")
        if theirs.dynamodb_url:
            await asyncio.to_thread(outside.use_tables, theirs.dynamodb_url, self._names)
        if theirs.sqs_url:
            named = self._local.get("MAYA_FINISH_QUEUE_URL", "")
            queue = await asyncio.to_thread(outside.use_queue, theirs.sqs_url, self._names, named)
        if theirs.dynamodb_url and theirs.sqs_url:
            return _Aws(theirs.dynamodb_url, theirs.sqs_url, queue)
        ours = await self._start_aws()
        if not theirs.sqs_url:
            queue = aws.FinishQueue(ours["finish_queue_url"], ours["finish_queue_arn"])
        return _Aws(theirs.dynamodb_url or ours["url"], theirs.sqs_url or ours["url"], queue)

    async def _start_aws(self) -> dict[str, Any]:
        arguments = [
            *("--port", str(self._options.ports.aws)),
            *("--users-table", self._names.users_table),
            *("--assessments-table", self._names.assessments_table),
            *("--region", self._names.region),
        ]
        return await self._start_module("aws", arguments, stop_stage=_STOP_SERVICES)

    async def _redis(self) -> _Redis:
        url = self.outside.redis_url
        if url:
            await asyncio.to_thread(outside.check_redis, url)
            return _Redis(url, RedisUrls(stream=url, relay=url, finish=url))
        server = await asyncio.to_thread(valkey.server_path)
        for tries_left in range(_PORT_TRIES - 1, -1, -1):
            chosen = valkey.Valkey.new(self._options.ports.redis)
            try:
                await self._supervisor.start(self._valkey_part(server, chosen))
                break
            except PartFailedError:
                # Another program may have taken the free port meanwhile.
                if self._options.ports.redis or not tries_left:
                    raise
        urls = RedisUrls(stream=chosen.url("stream"), relay=chosen.url("relay"), finish=chosen.url("finish"))
        return _Redis(chosen.url("operator"), urls)

    def _valkey_part(self, server: Path, chosen: valkey.Valkey) -> Part:
        return Part(
            name="valkey",
            command=[str(server), "-"],
            environment=self._local,
            ready=chosen.ready,
            stdin=chosen.configuration,
            stop_stage=_STOP_REDIS,
            restarts=self._options.redis_restarts,
        )

    async def _issuer(self) -> _Issuer:
        if self.outside.token_issuer:
            return _Issuer(self.outside.token_issuer, "")
        key_file = self._private / "token-key.pem"
        key = await asyncio.to_thread(tokens.make_key, key_file)
        server = tokens.KeySetServer(tokens.key_set(key), port=self._options.ports.issuer)
        return _Issuer(self._stack.enter_context(server), str(key_file))

    async def _bedrock(self) -> _Bedrock:
        theirs = self.outside
        if theirs.bedrock_url:
            return _Bedrock(theirs.bedrock_url, theirs.ca_bundle, "", "", "")
        files = certificates.issue(self._private, now=dt.datetime.now(dt.UTC), also_trust=self._also_trusted())
        options = self._options
        voice, note = await _choose_voice(options.voice)
        port, control_port = options.ports.bedrock, options.ports.nova_control
        if options.nova_restarts:
            # It must come back where it was.
            port, control_port = port or valkey.free_port(), control_port or valkey.free_port()
        arguments = [
            *("--port", str(port)),
            *("--control-port", str(control_port)),
            *("--cert", str(files.certificate)),
            *("--key", str(files.key)),
            *("--voice", voice),
            *("--timing", options.timing),
            *("--seed", str(options.disorder.seed)),
            *(("--record",) if options.record else ()),
            *("--set", f"max_streams={streams_for(self._lines)}"),
            *(word for setting in options.nova for word in ("--set", setting)),
        ]
        ready = await self._start_module(
            "nova",
            arguments,
            stop_stage=_STOP_SERVICES,
            ready_within_s=_NOVA_WITHIN_S,
            restarts=options.nova_restarts,
        )
        return _Bedrock(
            f"https://127.0.0.1:{ready['port']}",
            str(files.ca_bundle),
            f"http://127.0.0.1:{ready['control_port']}",
            voice,
            note,
        )

    def _also_trusted(self) -> Path | None:
        """Return the bundle to trust beside our own authority, when functions also call real services."""
        if not any(url.startswith("https:") for url in self.outside.aws_urls):
            return None
        if self.outside.ca_bundle:
            return Path(self.outside.ca_bundle)
        import botocore  # noqa: PLC0415  # needed only beside real services

        return Path(botocore.__file__).parent / "cacert.pem"

    async def _gateway(self, backing: asyncio.Task[_Backing]) -> dict[str, Any]:
        """Start API Gateway and Lambda; the process imports what it needs while the parts it will use still start."""

        async def configuration() -> bytes:
            config = self._deployment(await asyncio.shield(backing))
            return json.dumps(cloud_config.dump(config)).encode()

        return await self._start_module(
            "cloud",
            ["--config", "/dev/stdin"],
            stop_stage=_STOP_GATEWAY,
            stdin=configuration,
            ready_within_s=_GATEWAY_WITHIN_S,
            grace_s=_GATEWAY_GRACE_S,
        )

    def _deployment(self, backing: _Backing) -> cloud_config.CloudConfig:
        ports = self._options.ports
        return deployment(
            environment=self._product_environment(backing),
            redis=backing.redis.functions,
            finish_queue_arn=backing.services.finish_queue.arn,
            ports=cloud_config.PortsConfig(
                websocket=ports.websocket, connections=ports.connections, lambda_api=ports.lambda_api
            ),
            region=self._names.region,
            log_dir=self._private / "log" / "functions",
            disorder=self._options.disorder,
            limits=self._options.limits,
            lazy=self._options.lazy,
        )

    def _product_environment(self, backing: _Backing) -> dict[str, str]:
        addresses = Addresses(
            dynamodb_url=backing.services.dynamodb_url,
            sqs_url=backing.services.sqs_url,
            finish_queue_url=backing.services.finish_queue.url,
            bedrock_url=backing.bedrock.url,
            ca_bundle=backing.bedrock.ca_bundle,
            token_issuer=backing.issuer.url,
        )
        return product_environment(self._local, addresses, self._names, plan=self._plan, lines=self._lines)

    def _state(self, backing: _Backing, gateway: Mapping[str, Any]) -> State:
        environment = self._product_environment(backing)
        return State(
            websocket_url=gateway["websocket_url"],
            connections_url=self.outside.connections_url or gateway["connections_url"],
            redis_url=backing.redis.operator_url,
            dynamodb_url=backing.services.dynamodb_url,
            sqs_url=backing.services.sqs_url,
            finish_queue_url=backing.services.finish_queue.url,
            lambda_url=self.outside.lambda_url or gateway["lambda_url"],
            lambda_control_url=gateway["control_url"],
            bedrock_url=backing.bedrock.url,
            ca_bundle=backing.bedrock.ca_bundle,
            nova_control_url=backing.bedrock.control_url,
            token_issuer=backing.issuer.url,
            token_audience=environment["MAYA_TOKEN_AUDIENCE"],
            jwks_url=environment["MAYA_JWKS_URL"],
            token_key_file=backing.issuer.key_file,
            region=self._names.region,
            users_table=self._names.users_table,
            assessments_table=self._names.assessments_table,
            plan=self._plan,
            voice=backing.bedrock.voice,
            voice_note=backing.bedrock.voice_note,
            lines=self._lines,
            log_dir=str(self._private / "log"),
            mark=self._private.name,
            supervisor_pid=os.getpid(),
            pids=self._supervisor.pids,
        )

    async def _start_module(
        self,
        name: str,
        arguments: list[str],
        *,
        stop_stage: int,
        stdin: Callable[[], Awaitable[bytes]] | None = None,
        ready_within_s: float = 30.0,
        grace_s: float = 5.0,
        restarts: int = 0,
    ) -> dict[str, Any]:
        """Start ``python -m infra.local.<name>`` and return what its ready file says."""
        ready = self._private / "ready" / f"{name}.json"
        part = Part(
            name=name,
            command=[sys.executable, "-m", f"infra.local.{name}", "--ready-file", str(ready), *arguments],
            environment={**self._local, "PYTHONPATH": str(ROOT)},
            ready=functools.partial(file_appears, ready),
            stdin=stdin,
            stop_stage=stop_stage,
            ready_within_s=ready_within_s,
            grace_s=grace_s,
            restarts=restarts,
        )
        await self._supervisor.start(part)
        document: dict[str, Any] = json.loads(ready.read_text())
        # One that is started again is ready when it has written the file anew.
        ready.unlink()
        return document


async def _choose_voice(asked: str) -> tuple[str, str]:
    """Return ``human`` where it was not refused and can be had, else ``plain``; and why it cannot be had, if so."""
    if asked == "plain":
        return "plain", ""
    # Imported here: it takes 0.1 s, which a plain voice need not wait for.
    from infra.local.nova.voices import why_unavailable  # noqa: PLC0415

    reason = await asyncio.to_thread(why_unavailable, "human")
    return ("plain", reason) if reason else ("human", "")


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one cause: enough for a person, for the others are mostly its consequences."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def streams_for(lines: int) -> int:
    """Return the quota of Nova's streams that so many lines need, as the product leaves a tenth of it free, at least 2.

    It is never less than a usual account has (SERVICE.md A11).
    """
    return max(_USUAL_STREAMS, lines + max(2, -(-lines // 9)))


def _lines(environment: Mapping[str, str]) -> int:
    text = environment.get("MAYA_LINES") or str(_DEFAULT_LINES)
    if not text.isdecimal():
        raise outside.OutsideError(f"MAYA_LINES is {text!r}, and should be a number of conversations")
    return int(text)
