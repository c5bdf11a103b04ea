"""DynamoDB or SQS that fails for one learner: a proxy that looks for the learner's id in each request."""

import asyncio
import json
import threading
from typing import Final, Self

import aiohttp
from aiohttp import web

_THROTTLED: Final = {
    "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "message": "The level of configured provisioned throughput for the table was exceeded.",
}
_PASSED_ON: Final = ("Content-Type", "X-Amz-Target", "Authorization", "X-Amz-Date")


class Tables:
    """A proxy before either, in a thread of its own; use it as a context manager.

    Attributes:
        away: learners whose requests get no answer: the connection breaks.
        throttled: learners whose requests are throttled.
        failed: how many requests got one or the other.
        url: where it listens.
    """

    def __init__(self, upstream: str) -> None:
        self.away: set[str] = set()
        self.throttled: set[str] = set()
        self.failed = 0
        self.url = ""
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="tables", daemon=True)

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            self._ready.set()
            await self._end.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if any(learner.encode() in body for learner in tuple(self.away)):
            self.failed += 1
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        if any(learner.encode() in body for learner in tuple(self.throttled)):
            self.failed += 1
            refusal = json.dumps(_THROTTLED).encode()
            return web.Response(status=400, body=refusal, content_type="application/x-amz-json-1.0")
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = f"{self._upstream}{request.path_qs}"
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower().startswith("x-amz")}
            content_type = answer.headers.get("Content-Type", "application/json")
            return web.Response(
                status=answer.status, body=await answer.read(), headers={**kept, "Content-Type": content_type}
            )
