"""A stream as a relay holds it, over real sockets and the real SDK: every fault that the stand-in can make."""

import asyncio
import base64
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.adapters.nova_sonic import NovaSonic, fault_of
from gateway.core.conversation import ConversationSettings
from gateway.core.conversation.actions import Action, OpenStream
from gateway.core.conversation.inputs import Input, StreamEnded, StreamOpened, StreamSaid
from gateway.core.conversation.line import MayaLine
from gateway.core.errors import RemoteError
from gateway.core.exam import build_plan
from gateway.core.nova_events import Fault, Role
from gateway.core.prompts import Direction
from gateway.nova_line import NovaLine
from gateway.ports import NovaStream
from gateway.settings import sonic_settings
from infra.local import certificates
from infra.local.nova.faults import KINDS, Effect, parse_order
from infra.local.nova.records import Records
from infra.local.nova.server import Server, tls_context
from infra.local.nova.service import Service, Talents
from infra.local.nova.settings import INSTANT_TIMING, Settings
from tests.local.nova.fakes import FakeVoice, Talent
from tests.world.nova import meaning

WITHIN_S: Final = 20
FRAME: Final = base64.b64encode(bytes(3_200)).decode()
AT_OPENING: Final = frozenset({Effect.REFUSE, Effect.REFUSE_CONNECTION, Effect.NO_HEADERS})
SILENT: Final = frozenset({Effect.MUTE, Effect.GOAWAY})
HARMLESS: Final = frozenset({Effect.BEHAVE, Effect.UNKNOWN_EVENT})
FAULTS: Final = sorted(name for name, kind in KINDS.items() if kind.effect is not Effect.DELAY)


@dataclass
class Held:
    """A stand-in, and a line to it.

    Attributes:
        happened: what the core would have been told.
    """

    service: Service
    sonic: NovaSonic
    happened: list[Input] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open_stream(self, events: tuple[bytes, ...]) -> NovaStream:
        return await self.sonic.open(events)

    def fault_of(self, error: RemoteError) -> Fault:
        return fault_of(error)

    def failure(self, event: str, error: BaseException, fields: Mapping[str, str | float]) -> None:
        raise AssertionError(event) from error

    def feed(self, *events: Input) -> None:
        self.happened.extend(events)
        self.changed.set()

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.happened if isinstance(event, kind)]

    async def until(self, met: Callable[[], Any]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not met():
                self.changed.clear()
                await self.changed.wait()

    def order(self, name: str, **fields: Any) -> None:
        assert self.service.order(parse_order({"fault": name, **fields}))

    def talk(self) -> tuple[NovaLine, "asyncio.Task[None]", Callable[[], None]]:
        """Open a stream as the core does; returns it, its task, and what sends the next frame and question."""
        asked: list[Action] = []
        maya = MayaLine(ConversationSettings(plan=build_plan("tiny")), asked.append, lambda: "prompt")
        stream = maya.open(build_plan("tiny").part(1), [], 0.0)
        [opening] = [action for action in asked if isinstance(action, OpenStream)]
        line = NovaLine(1, self, self.feed)  # type: ignore[arg-type] # all of the services that a line uses

        def speak() -> None:
            line.send(tuple(stream.prompt.audio_input(FRAME)))
            line.send(tuple(stream.prompt.text_block(Role.USER, Direction.BEGIN, interactive=True)))

        return line, asyncio.create_task(line.run(opening.events)), speak


type Hold = Callable[..., AbstractAsyncContextManager[Held]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> certificates.ServerCertificate:
    return certificates.issue(tmp_path_factory.mktemp("line"), now=dt.datetime.now(dt.UTC))


@pytest.fixture
def hold(certificate: certificates.ServerCertificate, monkeypatch: pytest.MonkeyPatch) -> Hold:
    @asynccontextmanager
    async def held(**limits: float) -> AsyncIterator[Held]:
        talent = Talent()
        service = Service(
            Settings(timing=INSTANT_TIMING),
            Talents("plain", talent.make_ears, FakeVoice(), talent.make_mind),
            Records(recording=False),
            seed=1,
        )
        server = Server(service, tls_context(certificate.certificate, certificate.key))
        port = await server.start("127.0.0.1", 0)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", f"https://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(Path(certificate.ca_bundle)))
        sonic = NovaSonic(replace(sonic_settings(), **limits))  # type: ignore[arg-type] # numbers only
        try:
            yield Held(service, sonic)
        finally:
            await sonic.close()
            await server.close()

    return held


@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_over_sockets(hold: Hold, name: str) -> None:
    """The core is told once what became of the stream, as conversations in virtual time are; nothing of it is left."""
    effect = KINDS[name].effect
    # Only where nothing ever comes is a short limit safe on a machine that is busy.
    limits = {"open_timeout_s": 0.5} if effect is Effect.NO_HEADERS else {}
    async with hold(close_timeout_s=0.3, **limits) as held:
        held.order(name, **({} if effect in AT_OPENING else {"when": {"after_audio_inputs": 1}}))
        line, task, speak = held.talk()
        if effect not in AT_OPENING:
            await held.until(lambda: held.of(StreamOpened))
            speak()
        if effect in HARMLESS:
            await held.until(lambda: held.of(StreamSaid))
            assert held.of(StreamEnded) == []
        elif effect not in SILENT:
            await held.until(lambda: held.of(StreamEnded))
            expected = meaning(parse_order({"fault": name}).fault)
            assert [ended.fault for ended in held.of(StreamEnded)] == [expected]
            assert bool(held.of(StreamOpened)) is (effect not in AT_OPENING)
        line.close()
        await asyncio.wait_for(task, WITHIN_S)
        assert len(held.of(StreamEnded)) == (0 if effect in SILENT | HARMLESS else 1)


def test_what_breaks_while_a_stream_is_listened_to_wakes_the_receiver() -> None:
    """A fault of ours is told, and the receiver waits no longer for what was not taken."""
    failures: list[str] = []

    class Services:
        def failure(self, event: str, error: BaseException, fields: Mapping[str, str | float]) -> None:
            failures.append(f"{event} {error}")

    class Stream:
        def receive_now(self) -> bytes | None:
            raise ZeroDivisionError("ours")

    line = NovaLine(1, Services(), lambda *_events: None)  # type: ignore[arg-type] # all of the services that are used
    assert not line._heard(Stream())  # type: ignore[arg-type] # all of a stream that is used
    assert failures == ["stream_broke ours"]


async def test_an_opening_that_is_not_wanted_any_more_is_given_up_at_once(hold: Hold) -> None:
    """It would hold one of the account's few streams until its time limit."""
    async with hold(open_timeout_s=60.0) as held:
        held.order("headers_never")
        line, task, _speak = held.talk()
        async with asyncio.timeout(WITHIN_S):
            while not held.service.open_streams:  # noqa: ASYNC110 - the stand-in tells nobody
                await asyncio.sleep(0)
        line.close()
        await asyncio.wait([task], timeout=WITHIN_S)
        assert task.done()
        assert held.happened == []


async def test_a_line_that_is_closed_before_it_began_opens_nothing(hold: Hold) -> None:
    """The core changed its mind within one step."""
    async with hold() as held:
        line, task, _speak = held.talk()
        line.close()
        await asyncio.wait_for(task, WITHIN_S)
        assert (held.happened, held.service.open_streams) == ([], {})


@pytest.mark.parametrize(("expires_in_s", "lives"), [(90.0, True), (None, False)])
async def test_how_long_its_credentials_live_is_told(
    hold: Hold, expires_in_s: float | None, lives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it is followed by another stream before they end."""
    monkeypatch.setattr("gateway.nova_line.time.time", lambda: 1_000.0)
    async with hold() as held:
        opening = held.sonic.open

        async def open_with_expiry(events: tuple[bytes, ...]) -> NovaStream:
            stream = await opening(events)
            stream.credentials_expire_at_s = None if expires_in_s is None else 1_000.0 + expires_in_s
            return stream

        monkeypatch.setattr(held.sonic, "open", open_with_expiry)
        line, task, _speak = held.talk()
        await held.until(lambda: held.of(StreamOpened))
        assert held.of(StreamOpened) == [StreamOpened(1, 90_000.0 if lives else None)]
        line.close()
        await asyncio.wait_for(task, WITHIN_S)
