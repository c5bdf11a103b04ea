"""Runs the stand-in: `python -m infra.local.nova --cert CERT --key KEY --ready-file FILE`; see `--help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from infra.local.nova.control import control_app
from infra.local.nova.minds import make_mind
from infra.local.nova.records import Records, Tap
from infra.local.nova.server import Server, tls_context
from infra.local.nova.service import Service, Talents
from infra.local.nova.settings import INSTANT_TIMING, SERVICE_TIMING, BadSetting, Settings
from infra.local.nova.voices import make_ears, make_voice, warm_up

_TAP_FLUSH_S = 0.5
_TIMINGS = {"service": SERVICE_TIMING, "instant": INSTANT_TIMING}


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the command line's options; a wrong one ends the process with a text that names it."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.nova", description="A stand-in for Amazon Nova Sonic.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--cert", type=Path, required=True, help="PEM")
    parser.add_argument("--key", type=Path, required=True, help="PEM")
    parser.add_argument("--ready-file", type=Path, help="JSON with the ports, written when all is ready")
    parser.add_argument("--voice", choices=("plain", "human"), default="plain")
    parser.add_argument("--control-port", type=int, help="control API; 0 takes a free port, absent: none")
    parser.add_argument("--record", action="store_true", help="keep words and speech in memory for the control API")
    parser.add_argument("--tap", type=Path, help="write when how much speech was heard and said, one JSON line each")
    parser.add_argument("--timing", choices=tuple(_TIMINGS), default="service")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any single setting")
    parser.add_argument("--seed", type=int, help="of all randomness")
    options = parser.parse_args(arguments)
    try:
        overrides = dict(item.split("=", 1) for item in options.set)
        options.settings = Settings(timing=_TIMINGS[options.timing]).with_overrides(overrides)
    except BadSetting as error:
        parser.error(str(error))
    except ValueError:
        parser.error("--set takes NAME=VALUE")
    return options


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows raises KeyboardInterrupt instead
            loop.add_signal_handler(number, stopped.set)
    talents = Talents(options.voice, make_ears, make_voice(options.voice), make_mind)
    await warm_up(options.voice)
    tap = Tap(options.tap) if options.tap is not None else None
    service = Service(options.settings, talents, Records(recording=options.record, tap=tap), seed=options.seed)
    server = Server(service, tls_context(options.cert, options.key))
    ready = {"pid": os.getpid(), "voice": options.voice, "port": await server.start(options.host, options.port)}
    runner = web.AppRunner(control_app(service), access_log=None)
    if options.control_port is not None:
        await runner.setup()
        await web.TCPSite(runner, options.host, options.control_port).start()
        ready["control_port"] = runner.addresses[0][1]
    gc.collect()
    gc.freeze()
    if options.ready_file is not None:
        _write_whole(options.ready_file, json.dumps(ready))
    try:
        await _flush_until(stopped, service)
    finally:
        await server.close()
        await runner.cleanup()
        if tap is not None:
            tap.close()


async def _flush_until(stopped: asyncio.Event, service: Service) -> None:
    while not stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), _TAP_FLUSH_S)
        service.records.flush()


def _write_whole(path: Path, content: str) -> None:
    """Let the file appear with all its content at once."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where there is one: it takes less CPU for each TLS record."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  # not on Windows

    return uvloop.new_event_loop


def main() -> None:
    """Run with the command line of this process."""
    options = parse_arguments(sys.argv[1:])
    with asyncio.Runner(loop_factory=_loop_factory()) as runner, contextlib.suppress(KeyboardInterrupt):
        runner.run(serve(options))


if __name__ == "__main__":
    main()
