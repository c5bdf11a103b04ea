"""The SDK's extension points through which Nova Sonic's streams take a cheaper path.

`StreamTransport` is the SDK's transport and `StreamProtocol` its wire protocol. The SDK itself still finds the endpoint
and the credentials, builds and signs the request, and reads error responses; only the events of the bidirectional
stream go through `Channel` and `nova_framing` instead of its own asyncio layers. Everything here implements interfaces
that the SDK publishes for the purpose: a transport with ``SUPPORTS_DUPLEX_STREAMING``, and a protocol class given as
``protocol=`` of the configuration.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Self, cast

from aws_sdk_bedrock_runtime.models import (  # type: ignore[import-untyped, unused-ignore]
    BidirectionalOutputPayloadPart,
    InvokeModelWithBidirectionalStreamInputChunk,
    InvokeModelWithBidirectionalStreamOutputChunk,
)
from awscrt.auth import AwsCredentialsProvider
from awscrt.exceptions import AwsCrtError
from smithy_aws_core.aio.protocols import RestJsonClientProtocol
from smithy_aws_core.identity import AWSCredentialsIdentity
from smithy_core.aio.interfaces.auth import AuthScheme
from smithy_core.aio.interfaces.eventstream import EventPublisher, EventReceiver
from smithy_core.aio.interfaces.identity import IdentityResolver
from smithy_core.exceptions import SmithyIdentityError, UnsupportedTransportError
from smithy_core.interfaces import URI, TypedProperties
from smithy_core.schemas import APIOperation
from smithy_http import Fields, tuples_to_fields
from smithy_http.aio.interfaces import HTTPClient, HTTPRequest, HTTPResponse
from smithy_http.interfaces import HTTPClientConfiguration, HTTPRequestConfiguration

from gateway.adapters.crt import CrtRuntime, from_crt, make_request
from gateway.adapters.nova_channel import Channel
from gateway.adapters.nova_framing import FrameReader, FrameSigner, FramingError, ServiceFaultError, encode_event

_HTTPS_PORT = 443


class Credentials(IdentityResolver[AWSCredentialsIdentity, Any]):
    """The credentials that sign a stream: its request and all of its events with the same ones.

    They come from awscrt's default chain (environment, profile, web identity, container, instance), which asks again
    before they end; the SDK's own chain leaves container and instance to further packages.
    """

    def __init__(self, runtime: CrtRuntime) -> None:
        self._provider = AwsCredentialsProvider.new_default_chain(runtime.bootstrap)
        self.current: AWSCredentialsIdentity | None = None

    async def refresh(self) -> AWSCredentialsIdentity:
        """Ask the chain again.

        Raises:
            SmithyIdentityError: no provider has any.
        """
        try:
            found = await from_crt(self._provider.get_credentials())
        except AwsCrtError as error:
            raise SmithyIdentityError(error.name) from None
        self.current = AWSCredentialsIdentity(
            access_key_id=found.access_key_id,
            secret_access_key=found.secret_access_key,
            session_token=found.session_token or None,
            expiration=found.expiration,
        )
        return self.current

    async def get_identity(self, *, properties: Any) -> AWSCredentialsIdentity:  # noqa: ARG002 - the SDK's signature
        """Return the current credentials."""
        return self.current or await self.refresh()

    async def invalidate(self) -> None:
        """Forget them, as the SDK asks after an authentication error."""
        self.current = None

    def __deepcopy__(self, memo: object) -> Self:
        """The client copies its configuration; credentials are shared."""
        return self


class StreamResponse(HTTPResponse):
    """What the SDK needs of a response: status and headers; the body of a refusal, or the events."""

    def __init__(self, *, status: int, fields: Fields, channel: Channel, read_timeout_s: float) -> None:
        self._status = status
        self._fields = fields
        self.channel = channel
        self.read_timeout_s = read_timeout_s

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    @property
    def fields(self) -> Fields:
        """The headers."""
        return self._fields

    @property
    def reason(self) -> str | None:
        """HTTP/2 has none."""
        return None

    @property
    def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives."""
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := await self.channel.read(self.read_timeout_s):
            yield piece


class StreamTransport(HTTPClient):
    """Sends bidirectional streams, each through a `Channel`; the client is used for nothing else.

    Args:
        runtime: what the channels share.
        error_timeout_s: how long the body of a refusal may take.
    """

    SUPPORTS_DUPLEX_STREAMING = True
    TIMEOUT_EXCEPTIONS = ()

    def __init__(
        self,
        *,
        client_config: HTTPClientConfiguration | None = None,  # noqa: ARG002 - the SDK's signature
        runtime: CrtRuntime,
        error_timeout_s: float,
    ) -> None:
        self._runtime = runtime
        self._error_timeout_s = error_timeout_s

    async def send(
        self,
        request: HTTPRequest,
        *,
        request_config: HTTPRequestConfiguration | None = None,  # noqa: ARG002 - the SDK's signature
    ) -> HTTPResponse:
        """Send the request of a stream and return as soon as the response's headers are here.

        Raises:
            ChannelBrokenError: no connection, or it broke before.
        """
        channel: object = request.body
        if not isinstance(channel, Channel):
            raise UnsupportedTransportError("this transport carries bidirectional streams only")
        target = request.destination
        path = f"{target.path or '/'}{f'?{target.query}' if target.query else ''}"
        headers = [(item.name, value) for item in request.fields.entries.values() for value in item.values]
        if "host" not in request.fields:
            headers.append(("host", target.netloc))
        await channel.connect(
            self._runtime, target.host, target.port or _HTTPS_PORT, make_request(request.method, path, headers)
        )
        status, response_headers = await channel.response()
        return StreamResponse(
            status=status,
            fields=tuples_to_fields(response_headers),
            channel=channel,
            read_timeout_s=self._error_timeout_s,
        )

    async def close(self) -> None:
        """Nothing to do: channels are closed by those who opened them."""

    def __deepcopy__(self, memo: object) -> Self:
        """The client copies its configuration; the transport is shared."""
        return self


class StreamPublisher(EventPublisher[InvokeModelWithBidirectionalStreamInputChunk]):
    """Frames, signs and sends events.

    Attributes:
        channel: where they go.
    """

    def __init__(self, channel: Channel, signer: FrameSigner) -> None:
        self.channel = channel
        self._signer = signer

    async def send(self, event: InvokeModelWithBidirectionalStreamInputChunk) -> None:
        """Send one event as the SDK's type."""
        self.send_bytes(event.value.bytes_ or b"")

    def send_bytes(self, event: bytes) -> None:
        """Send one event as JSON bytes.

        Raises:
            ChannelBrokenError: it cannot reach the service any more.
        """
        self.channel.write(self._signer.frame(encode_event(event)))

    async def close(self) -> None:
        """Send the signed empty frame that ends a stream, then end the body."""
        if self.channel.usable:
            self.channel.write(self._signer.frame(b""))
            self.channel.finish()


class StreamReceiver(EventReceiver[InvokeModelWithBidirectionalStreamOutputChunk]):
    """Reads events.

    Args:
        channel: where they come from.
        read_timeout_s: how long the service may say nothing.
    """

    def __init__(self, channel: Channel, read_timeout_s: float) -> None:
        self._channel = channel
        self._read_timeout_s = read_timeout_s
        self._frames = FrameReader()
        self._fault: ServiceFaultError | FramingError | None = None

    def listen(self, heard: Callable[[], bool]) -> None:
        """Have `heard` called when something has come for which `receive_bytes` waits; see `Channel.listen`."""
        self._channel.listen(heard)

    async def receive(self) -> InvokeModelWithBidirectionalStreamOutputChunk | None:
        """Return the next event as the SDK's type, None at the end."""
        event = await self.receive_bytes(self._read_timeout_s)
        if event is None:
            return None
        return InvokeModelWithBidirectionalStreamOutputChunk(BidirectionalOutputPayloadPart(bytes_=event))

    async def receive_bytes(self, within_s: float) -> bytes | None:
        """Return the JSON of the next event, None once the service has ended the stream.

        Raises:
            ServiceFaultError: the service ended the stream with an error.
            FramingError: what came cannot be read.
            ChannelBrokenError: the stream or its connection broke.
            ChannelSilentError: nothing came within `within_s` seconds.
        """
        while (event := self.receive_bytes_now()) is None:
            piece = await self._channel.read(within_s)
            if not piece:
                if self._fault is not None:
                    raise self._fault
                if self._frames.pending_bytes:
                    raise FramingError("the stream ended within a frame")
                return None
            self._frames.feed(piece)
        return event

    def receive_bytes_now(self) -> bytes | None:
        """Return the JSON of the next event if it has come already.

        Raises:
            ServiceFaultError: the service ended the stream with an error; raised again and again, like the other.
            FramingError: what came cannot be read.
        """
        if self._fault is not None:
            raise self._fault
        try:
            while (event := self._frames.next_event()) is None:
                piece = self._channel.read_now()
                if not piece:
                    return None
                self._frames.feed(piece)
        except (ServiceFaultError, FramingError) as error:
            self._fault = error
            raise
        return event

    async def close(self) -> None:
        """Nothing to do: the channel is closed by who opened the stream."""


class StreamProtocol(RestJsonClientProtocol):
    """restJson1 whose bidirectional streams use `Channel`, `StreamPublisher` and `StreamReceiver`."""

    def serialize_request(
        self,
        *,
        operation: APIOperation[Any, Any],
        input: Any,  # noqa: A002 - the SDK's signature
        endpoint: URI,
        context: TypedProperties,
    ) -> HTTPRequest:
        """Build the request, with a channel for a body where the operation streams its input."""
        request = super().serialize_request(operation=operation, input=input, endpoint=endpoint, context=context)
        if operation.input_stream_member is not None:
            request.body = cast("Any", Channel())  # only this transport and this protocol ever see it
        return request

    def create_event_publisher(
        self,
        *,
        operation: APIOperation[Any, Any],  # noqa: ARG002 - the SDK's signature
        request: HTTPRequest,
        event_type: Any,  # noqa: ARG002 - the SDK's signature
        context: TypedProperties,
        auth_scheme: AuthScheme[Any, Any, Any, Any] | None = None,
    ) -> Any:
        """Make the publisher whose signatures continue the request's."""
        if auth_scheme is None:
            raise TypeError("a Nova Sonic stream must be signed")
        credentials = cast("Credentials", auth_scheme.identity_resolver(context=context)).current
        if credentials is None:
            raise TypeError("a Nova Sonic stream must be signed by known credentials")
        scope = auth_scheme.signer_properties(context=context)
        signer = FrameSigner(
            seed=request.fields["Authorization"].as_string().rpartition("Signature=")[2],
            secret_key=credentials.secret_access_key,
            region=scope["region"],
            service=scope["service"],
        )
        return StreamPublisher(cast("Channel", request.body), signer)

    def create_event_receiver(
        self,
        *,
        operation: APIOperation[Any, Any],  # noqa: ARG002 - the SDK's signature
        request: HTTPRequest,  # noqa: ARG002 - the SDK's signature
        response: HTTPResponse,
        event_type: Any,  # noqa: ARG002 - the SDK's signature
        event_deserializer: Callable[..., Any],  # noqa: ARG002 - the SDK's signature
        context: TypedProperties,  # noqa: ARG002 - the SDK's signature
    ) -> Any:
        """Make the receiver of a response."""
        answer = cast("StreamResponse", response)
        return StreamReceiver(answer.channel, answer.read_timeout_s)
