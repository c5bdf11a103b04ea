"""Amazon Nova Sonic through its SDK: streams that open, carry events and close, each step within a time limit.

The SDK alone reports resets and broken connections as an ordinary end, lets the seventeenth event after them block for
ever, and hangs when such a stream is closed; the streams here tell the ends apart and always close (SERVICE.md W4).
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from aws_sdk_bedrock_runtime.client import AsyncBedrockRuntimeClient  # type: ignore[import-untyped, unused-ignore]
from aws_sdk_bedrock_runtime.config import AsyncBedrockRuntimeConfig  # type: ignore[import-untyped, unused-ignore]
from aws_sdk_bedrock_runtime.models import (  # type: ignore[import-untyped, unused-ignore]
    InvokeModelWithBidirectionalStreamOperationInput,
)
from smithy_core.exceptions import CallError, SmithyIdentityError

from gateway.adapters.crt import CrtRuntime
from gateway.adapters.nova_channel import ChannelBrokenError, ChannelSilentError
from gateway.adapters.nova_framing import FramingError, ServiceFaultError
from gateway.adapters.nova_transport import (
    Credentials,
    StreamProtocol,
    StreamPublisher,
    StreamReceiver,
    StreamTransport,
)
from gateway.core.errors import AccessRefused, RemoteError, RemoteTimeout, StreamLost
from gateway.core.nova_events import Fault, classify
from gateway.settings import SonicSettings

_FAULT_BY_LABEL: Final = {fault.label: fault for fault in Fault}


class NovaStream:
    """One open stream; made by `NovaSonic.open`.

    `send` and `receive` may run at the same time, each by one task. Whoever opened the stream must `close` it.

    Attributes:
        credentials_expire_at_s: Unix seconds at which the service will end the stream, since the credentials that
            signed it end; None where the provider does not say.
    """

    def __init__(
        self,
        publisher: StreamPublisher,
        receiver: StreamReceiver,
        settings: SonicSettings,
        *,
        credentials_expire_at_s: float | None,
    ) -> None:
        self._publisher = publisher
        self._receiver = receiver
        self._settings = settings
        self.credentials_expire_at_s = credentials_expire_at_s

    def send_now(self, event: bytes) -> bool:
        """Send one event as JSON bytes if the service takes more at once; return whether it was sent.

        Raises:
            StreamLost: it cannot reach the service any more.
        """
        if self._publisher.channel.crowded:
            return False
        try:
            self._publisher.send_bytes(event)
        except ChannelBrokenError as error:
            raise _lost(error) from None
        return True

    async def send(self, event: bytes) -> None:
        """Send one event as JSON bytes; waits while the service takes no more.

        Raises:
            StreamLost: it cannot reach the service any more, or waited too long.
        """
        channel = self._publisher.channel
        try:
            if channel.crowded:
                await channel.room(self._settings.send_timeout_s)
            self._publisher.send_bytes(event)
        except (ChannelBrokenError, ChannelSilentError) as error:
            raise _lost(error) from None

    async def receive(self) -> bytes | None:
        """Return the JSON of the next event, None once the service has ended the stream in good order.

        Raises:
            RemoteError: the stream is over otherwise; `fault_of` says what it means.
        """
        try:
            return await self._receiver.receive_bytes(self._settings.receive_timeout_s)
        except (ServiceFaultError, ChannelBrokenError, ChannelSilentError, FramingError) as error:
            raise _ended_by(error) from None

    def listen(self, heard: Callable[[], bool]) -> None:
        """Have `heard` called when something has come for which `receive` waits, to take it at once by `receive_now`.

        Args:
            heard: returns whether it could use it all, so that `receive` may go on waiting.
        """
        self._receiver.listen(heard)

    def receive_now(self) -> bytes | None:
        """Return the JSON of the next event if it is here already; raises as `receive` does."""
        try:
            return self._receiver.receive_bytes_now()
        except (ServiceFaultError, FramingError) as error:
            raise _ended_by(error) from None

    async def close(self) -> None:
        """End the stream and cut its connection, within the time limit whatever state it is in; never raises.

        Safe to call twice, and while `send` or `receive` are waiting: they end with `StreamLost`.
        """
        with contextlib.suppress(ChannelBrokenError):
            await self._publisher.close()
        await self._publisher.channel.close(self._settings.close_timeout_s)


class NovaSonic:
    """Opens streams to Nova Sonic. Belongs to one event loop; close it when the conversation is over.

    Args:
        settings: model, region and time limits.

    The endpoint is the SDK's own choice: the region's, or ``AWS_ENDPOINT_URL_BEDROCK_RUNTIME``. The
    credentials are those of the default chain: environment, profile, web identity, container, instance.
    """

    def __init__(self, settings: SonicSettings) -> None:
        self._settings = settings
        self._client: AsyncBedrockRuntimeClient | None = None
        self._credentials: Credentials | None = None
        self._opening = asyncio.Lock()

    async def open(self, opening_events: Sequence[bytes]) -> NovaStream:
        """Open a stream and send its opening events; returns once the service has answered.

        The events go out while the answer is awaited, since the service answers only after it has heard some.

        Raises:
            RemoteError: it could not be opened within the time limit; nothing of it is left. `fault_of` says what it
                means, where the service said anything.
        """
        stream: Any = None
        try:
            async with asyncio.timeout(self._settings.open_timeout_s):
                stream, expire_at_s = await self._begin()
                receiver = await self._greet(stream, opening_events)
        except BaseException as error:
            if stream is not None:
                await self._abandon(stream)
            if isinstance(error, Exception):
                raise _opening_error(error, self._settings.open_timeout_s) from None
            raise
        return NovaStream(stream.input_stream, receiver, self._settings, credentials_expire_at_s=expire_at_s)

    async def close(self) -> None:
        """Release what streams share; those still open are closed by their owners."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _begin(self) -> tuple[Any, float | None]:
        """Have the SDK build and sign the request; connecting goes on in the background."""
        # One at a time, so that request and events are signed by the same credentials.
        async with self._opening:
            client, credentials = await self._set_up()
            identity = await credentials.refresh()
            stream = await client.invoke_model_with_bidirectional_stream(
                InvokeModelWithBidirectionalStreamOperationInput(model_id=self._settings.model_id)
            )
        return stream, None if identity.expiration is None else identity.expiration.timestamp()

    async def _set_up(self) -> tuple[Any, Credentials]:
        if self._client is None or self._credentials is None:
            runtime = _runtime(self._settings.ca_bundle)
            self._credentials = Credentials(runtime)
            config = await AsyncBedrockRuntimeConfig.resolve(
                region=self._settings.region,
                transport=StreamTransport(runtime=runtime, error_timeout_s=self._settings.open_timeout_s),
                protocol=StreamProtocol,
                aws_credentials_identity_resolver=self._credentials,
            )
            self._client = AsyncBedrockRuntimeClient(config)
        return self._client, self._credentials

    async def _greet(self, stream: Any, opening_events: Sequence[bytes]) -> StreamReceiver:
        """Send the opening events while the answer is awaited."""
        answer = asyncio.ensure_future(stream.await_output())
        answer.add_done_callback(_collect)
        publisher: StreamPublisher = stream.input_stream
        try:
            for event in opening_events:
                if publisher.channel.crowded:
                    await publisher.channel.room(self._settings.open_timeout_s)
                publisher.send_bytes(event)
        except ChannelBrokenError:
            # A refusal may come before all is sent; the answer says why.
            await answer
            raise
        except BaseException:
            answer.cancel()
            raise
        _output, receiver = await answer
        return cast("StreamReceiver", receiver)

    async def _abandon(self, stream: Any) -> None:
        """Close a stream that did not open, and collect what the SDK's background tasks end with."""
        await stream.input_stream.channel.close(0.0)
        answer = asyncio.ensure_future(stream.await_output())
        answer.add_done_callback(_collect)
        await asyncio.wait([answer], timeout=self._settings.close_timeout_s)
        answer.cancel()


def fault_of(error: RemoteError) -> Fault:
    """Return what an error of a stream means for the next one."""
    return _FAULT_BY_LABEL.get(str(error).partition(":")[0], Fault.STREAM_LOST)


@functools.cache
def _runtime(ca_bundle: str) -> CrtRuntime:
    """One thread of awscrt serves all streams of a process, and outlives them."""
    return CrtRuntime(ca_bundle)


def _opening_error(error: Exception, within_s: float) -> RemoteError:
    """Map what the SDK raised, or wrapped, to an error of ours."""
    cause = error.__cause__ if isinstance(error.__cause__, (ChannelBrokenError, ChannelSilentError)) else error
    if isinstance(cause, RemoteError):
        return cause
    if isinstance(cause, TimeoutError):
        return RemoteTimeout(f"{Fault.STREAM_LOST.label}: not opened within {within_s:g} s")
    if isinstance(cause, SmithyIdentityError):
        return AccessRefused(f"{Fault.ACCESS_REFUSED.label}: no credentials")
    if isinstance(cause, CallError):
        return _refused(type(cause).__name__, cause.message)
    return _lost(cause)


def _refused(fault_type: str, message: str) -> RemoteError:
    fault = classify(fault_type, message)
    return fault.error(fault.label)


def _ended_by(error: Exception) -> RemoteError:
    """Say what ended a stream that was read."""
    return _refused(error.fault_type, error.message) if isinstance(error, ServiceFaultError) else _lost(error)


def _lost(error: Exception) -> StreamLost:
    """Say how a stream was lost: the texts of the channel's errors are names and never quote what was sent."""
    known = isinstance(error, (ChannelBrokenError, ChannelSilentError, FramingError))
    return StreamLost(f"{Fault.STREAM_LOST.label}: {error if known else type(error).__name__}")


def _collect(task: "asyncio.Future[Any]") -> None:
    """Take note of how a task ended, so that nothing reports it as forgotten."""
    if not task.cancelled():
        task.exception()
