"""Every error of maya.v1, provoked through the real WebSocket; and every refused upgrade."""

import base64
import hashlib
import hmac
import json
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from gateway.core.messages import AssessmentMessage, Bye, Error
from gateway.core.wire import parse_down
from infra.local import aws, learners, tokens
from tests.e2e.callers import Caller
from tests.e2e.clouds import QUICK, Cloud, eventually, launch
from tests.e2e.maya import Nova
from tests.e2e.raw_phone import RawPhone
from tests.e2e.stored import check_stored
from tests.e2e.talks import MAYA, NUMBERS

# The conversation of each test keeps its line and its stream for some seconds after the test: enough for all of them.
_LINES = 200
_FAR_AHEAD_MS = 200_000
_SHORT = {
    **NUMBERS,
    "MAYA_RESUME_WITHIN_S": "3",
    "MAYA_START_WITHIN_S": "3",
    "MAYA_RETRY_AFTER_MS": "20",
    "MAYA_ACK_EVERY_MS": "100",
    "MAYA_DELIVER_WITHIN_MS": "1000",
    "MAYA_TOO_FAST_S": "1",
    # So that a test can send fast without running ahead.
    "MAYA_TOO_FAR_AHEAD_MS": "100000",
    # A quick machine sends more messages than a connection may; that is another test's matter.
    "MAYA_FLOOD_MESSAGES_PER_S": "5000",
}

type Dial = Callable[..., AbstractAsyncContextManager[RawPhone]]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud on which everything that has to last for a while lasts no longer than a test can wait."""
    state_file = tmp_path_factory.mktemp("errors") / "state.json"
    with launch(
        state_file, *QUICK, *MAYA, "--lines", str(_LINES), "--nova", "max_streams=400", environment=_SHORT
    ) as running:
        yield running


@pytest.fixture
def learner() -> str:
    """A learner of this test alone."""
    return f"err-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def dial(cloud: Cloud, learner: str) -> Dial:
    """Open a connection of the learner: `async with dial() as phone`."""

    def open_(*, who: str = learner, session_id: str = "") -> AbstractAsyncContextManager[RawPhone]:
        return RawPhone.connected(cloud, cloud.token(who), session_id=session_id)

    return open_


@pytest.fixture
async def phone(dial: Dial) -> AsyncIterator[RawPhone]:
    """A connection on which nothing has been said yet."""
    async with dial() as connected:
        yield connected


async def error(phone: RawPhone, code: str, *, fatal: bool = False) -> Error:
    """The next error: valid by the contract, with this code; followed by `bye` if it is fatal.

    A relay then closes the connection; where none is, that is left to the app.
    """
    message = await phone.next("error", "bye")
    told = parse_down(json.dumps(message))
    assert isinstance(told, Error)
    assert (told.code, told.fatal) == (code, fatal), told
    if fatal:
        assert (await phone.next("error", "bye")) == {"type": "bye", "epoch": told.epoch, "reason": "failed"}
        if told.epoch:
            await phone.end()
    return told


async def goes_on(phone: RawPhone) -> None:
    """The conversation goes on: the next frames are taken."""
    await phone.speak(2)
    await phone.taken(phone.spoken)


# --- bad_message ----------------------------------------------------------------------------------------------------

_NO_MESSAGES = {
    "not JSON": '{"action":"stream","type":"ping"',
    "not an object": '["stream","ping"]',
    "a number": "1",
    "nothing": " ",
    "no type": '{"action":"stream"}',
    "unknown type": '{"action":"stream","type":"sing"}',
    "type is no text": '{"action":"stream","type":7}',
    "nested too deeply": "[" * 12_000 + "]" * 12_000,
}
_TOO_LARGE = json.dumps({"action": "stream", "type": "audio", "seq": 0, "t": 0, "pcm": "A" * 25_000})

_WRONG_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"type": "ping", "id": 1}, "at"),
    "extra": ({"type": "ping", "id": 1, "at": 1, "turn": 2}, "turn"),
    "extra, made up": ({"type": "ping", "id": 1, "at": 1, "colour": "crimson"}, "an unknown field"),
    "a text for a number": ({"type": "ping", "id": "1", "at": 1}, "id"),
    "a number for a text": ({"type": "audio", "seq": 1, "t": 0, "pcm": 5}, "pcm"),
    "negative": ({"type": "audio", "seq": -1, "t": 0, "pcm": ""}, "seq"),
    "beyond 2^53": ({"type": "ack", "n": 2**53, "queue_ms": 0}, "n"),
    "not a number": ({"type": "ack", "n": 0, "queue_ms": math.nan}, "queue_ms"),
    "none of the choices": ({"type": "lag_choice", "prompt_id": "p", "choice": "perhaps"}, "choice"),
    "no UUID": ({"type": "resume", "session_id": "mine", "n": -1, "seq": 0}, "session_id"),
    "wrong action": ({"type": "ping", "id": 1, "at": 1, "action": "shout"}, "action"),
}


@pytest.mark.parametrize("text", _NO_MESSAGES.values(), ids=_NO_MESSAGES.keys())
async def test_no_message_before_start(phone, text):
    """What is no message at all is answered though no conversation is open, and a conversation can begin."""
    phone.insist_on(text)
    assert not (await error(phone, "bad_message")).retryable
    await phone.begin()
    await goes_on(phone)


@pytest.mark.parametrize("text", [*_NO_MESSAGES.values(), _TOO_LARGE], ids=[*_NO_MESSAGES, "too large"])
async def test_no_message_in_a_conversation(phone, text):
    """What is no message at all is answered and dropped; the conversation goes on."""
    await phone.begin()
    await phone.send_text(text)
    await error(phone, "bad_message")
    await goes_on(phone)


@pytest.mark.parametrize(("fields", "named"), _WRONG_FIELDS.values(), ids=_WRONG_FIELDS.keys())
async def test_wrong_fields(phone, fields, named):
    """The error names the field and never its content; the conversation goes on."""
    await phone.begin()
    await phone.send_text(json.dumps({"action": "stream", **fields}))
    told = await error(phone, "bad_message")
    assert told.message.startswith(f"{named}: ")
    assert told.ref == fields["type"]
    for content in ("crimson", "colour", "perhaps", "mine", "shout"):
        assert content not in told.message
    await goes_on(phone)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"module": None}, "module"),
        ({"module": "writing"}, "module"),
        ({"rate": 44_100}, "rate"),
        ({"session_id": 7}, "session_id"),
        ({"voice": "Amy!"}, "voice"),
        ({"client": "x" * 65}, "client"),
    ],
)
async def test_a_wrong_start(phone, fields, named):
    """A `start` with a wrong field begins nothing; a right one on the same connection does."""
    phone.start(**fields)
    told = await error(phone, "bad_message")
    assert told.message.startswith(f"{named}: ")
    assert told.ref == "start"
    await phone.begin()


async def test_errors_are_told_at_most_once_a_second(phone):
    """However many bad messages come; good ones among them are all taken."""
    await phone.begin()
    began_s = time.monotonic()
    for _ in range(6):
        for _ in range(10):
            await phone.send_text("{")
        await phone.speak()
        await phone.taken(phone.spoken)
    errors = [message for message in phone.received if message.get("type") == "error"]
    assert 1 <= len(errors) <= 1 + (time.monotonic() - began_s)


# --- bad_audio ------------------------------------------------------------------------------------------------------


def _pcm(byte_count: int) -> str:
    return base64.b64encode(bytes(byte_count)).decode()


_BAD_AUDIO = {
    "not base64": "%%%%",
    "base64 of the web": "--__",
    "without padding": _pcm(640).rstrip("=")[:-1],
    "with a line break": _pcm(639)[:-1] + "\n",
    "odd byte count": _pcm(3_201),
    "empty": "",
    "shorter than 20 ms": _pcm(638),
    "longer than 250 ms": _pcm(8_002),
}


@pytest.mark.parametrize("pcm", _BAD_AUDIO.values(), ids=_BAD_AUDIO.keys())
async def test_bad_audio(phone, pcm):
    """The error says which frame; the frame is dropped, and a good one of its number is taken."""
    await phone.begin()
    await phone.send("audio", seq=0, t=0, pcm=pcm)
    assert (await error(phone, "bad_audio")).ref == 0
    await goes_on(phone)


@pytest.mark.parametrize(("rate", "byte_count"), [(8000, 320), (8000, 4_000), (24000, 960), (24000, 12_000)])
async def test_the_longest_and_shortest_frames_are_good(phone, rate, byte_count):
    """20 and 250 ms at other rates."""
    await phone.begin(rate=rate)
    await phone.send("audio", seq=0, t=0, pcm=_pcm(byte_count))
    await phone.taken(0)


# --- not_started, already_started -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {"type_": "audio", "seq": 0, "t": 0, "pcm": _pcm(3_200)},
        {"type_": "stop", "seq": 3},
        {"type_": "lag_choice", "prompt_id": "p", "choice": "skip"},
    ],
    ids=lambda message: message["type_"],
)
async def test_not_started(phone, message):
    """What needs a conversation and comes before `start`."""
    phone.insist(**message)
    told = await error(phone, "not_started")
    assert told.retryable
    assert told.ref == message["type_"]
    await phone.begin()
    await goes_on(phone)


@pytest.mark.parametrize(
    "other", [{"voice": "matthew"}, {"rate": 24000}, {"module": "general_speaking"}, {"client": "another"}]
)
async def test_already_started(phone, other):
    """A `start` of the same session that differs; one that is the same is answered by nothing at all."""
    await phone.begin()
    phone.start()
    phone.start(**other)
    assert (await error(phone, "already_started")).ref == "start"
    await goes_on(phone)


# --- too_fast -------------------------------------------------------------------------------------------------------


async def test_capture_time_ahead_of_real_time(phone):
    """The frame is not taken; with its right time it is."""
    await phone.begin()
    await phone.send("audio", seq=0, t=_FAR_AHEAD_MS, pcm=_pcm(3_200))
    told = await error(phone, "too_fast")
    assert told.ref == 0
    assert told.retryable
    await goes_on(phone)


async def test_capture_time_ahead_for_long_is_fatal(phone):
    """When it goes on the conversation ends."""
    await phone.begin()
    await phone.send("audio", seq=0, t=_FAR_AHEAD_MS, pcm=_pcm(3_200))
    await error(phone, "too_fast")
    while (told := await phone.next("ack", "error"))["type"] == "ack" or not told["fatal"]:
        await phone.send("audio", seq=0, t=_FAR_AHEAD_MS, pcm=_pcm(3_200))
    assert told["code"] == "too_fast"
    assert (await phone.next("bye"))["reason"] == "failed"
    await phone.end()


async def test_bytes_faster_than_anybody_speaks(phone):
    """Quarter seconds of sound as fast as the line carries them, for longer than is forgiven; first told, then ended."""
    await phone.begin()
    seq = 0
    while not (errors := [message for message in phone.received if message.get("type") == "error"]):
        await phone.send("audio", seq=seq, t=seq * 250, pcm=_pcm(8_000))
        await phone.send("ping", id=seq, at=0)
        await phone.next("pong", "error")
        seq += 1
    assert [message["code"] for message in errors] == ["too_fast"]
    assert not errors[0]["fatal"]
    assert seq > 8


# --- Fatal ones -----------------------------------------------------------------------------------------------------


async def test_module_locked(cloud, learner):
    """The upgrade needs any speaking module, `start` the right one."""
    token = cloud.token(learner, unlock=["general_speaking"])
    async with RawPhone.connected(cloud, token) as phone:
        phone.start()
        assert (await error(phone, "module_locked", fatal=True)).ref == "start"
    async with RawPhone.connected(cloud, cloud.token(f"{learner}-2", unlock=["general_speaking"])) as phone:
        await phone.begin(module="general_speaking")
        await goes_on(phone)


async def test_session_gone_when_it_is_unknown(phone):
    """Nobody has ever begun it."""
    phone.resume()
    assert (await error(phone, "session_gone", fatal=True)).ref == "resume"


async def test_session_gone_when_it_is_another_learners(dial, phone):
    """Knowing its id opens nothing, and its owner notices nothing (I5)."""
    await phone.begin()
    async with dial(who="thief", session_id=phone.session_id) as thief:
        thief.resume()
        await error(thief, "session_gone", fatal=True)
        assert [message["type"] for message in thief.received] == ["error", "bye"]
    await goes_on(phone)


async def test_session_gone_when_it_is_too_late(cloud, learner, dial):
    """Maya's line was kept for a while after the phone had gone; nothing had been said that could be assessed."""
    async with dial() as phone:
        await phone.begin()
    with cloud.redis() as redis:
        eventually(lambda: not redis.exists(f"maya:{{{learner}}}:lease"), within_s=20)
    async with dial(session_id=phone.session_id) as late:
        late.resume()
        await error(late, "session_gone", fatal=True)


async def test_session_gone_on_another_connection_changes_nothing(dial, phone):
    """An app that wants back into an old session is refused; the conversation on the learner's other phone goes on."""
    await phone.begin()
    async with dial() as other:
        other.resume()
        await error(other, "session_gone", fatal=True)
    await goes_on(phone)
    assert not [message for message in phone.received if message.get("type") in ("error", "bye")]


async def test_busy(cloud, learner, dial):
    """All lines are taken; when one is free again, the next `start` gets it."""
    others = {f"other-{number}": time.time() * 1000 + 60_000 for number in range(_LINES)}
    with cloud.redis() as redis:
        redis.zadd("maya:{lines}:held", others)
        try:
            async with dial() as phone:
                phone.start()
                told = await error(phone, "busy", fatal=True)
        finally:
            redis.zrem("maya:{lines}:held", *others)
    assert told.retryable
    assert told.retry_after_s is not None
    assert 50 <= told.retry_after_s <= 72  # a fifth more than what is left of them
    async with dial(who=f"{learner}-2") as phone:
        await phone.begin()


async def test_model_unavailable(cloud, learner, dial):
    """Maya cannot be reached at all; when she can again, the next `start` gets her."""
    nova = Nova(cloud)
    nova.order("unavailable", scope="all")
    try:
        async with dial() as phone:
            phone.start()
            assert (await error(phone, "model_unavailable", fatal=True)).retryable
    finally:
        nova.reset()
    async with dial(who=f"{learner}-2") as phone:
        await phone.begin()


async def test_model_unavailable_in_a_conversation(cloud):
    """Maya is lost after the first part and stays away; what was said is assessed and saved (I4)."""
    nova = Nova(cloud)
    caller = Caller(cloud, "lost")
    try:
        async with caller.calling():
            await caller.until(lambda: caller.part == 2 and caller.hears_maya, "Maya in part 2")
            stream = await nova.open_stream_of(caller, 2)
            nova.order("unavailable", scope="all")
            nova.order("rst", scope=stream, code=2)
            await caller.ends()
    finally:
        nova.reset()
    assert [(told.code, told.fatal) for told in caller.messages(Error)] == [("model_unavailable", True)]
    assert [bye.reason for bye in caller.messages(Bye)] == ["failed"]
    [shown] = caller.messages(AssessmentMessage)
    assert shown.saved
    saved = check_stored(cloud, caller)
    assert saved == caller.assessment
    assert [part.part for part in saved.parts] == [1]


async def test_internal(cloud, learner, dial):
    """The learner's profile cannot be read: an id to quote and no more; when it can be, the next `start` is answered."""
    state = cloud.state
    dynamodb = cloud.client("dynamodb")
    async with dial() as phone:
        dynamodb.delete_table(TableName=state.users_table)
        try:
            phone.start()
            told = await error(phone, "internal", fatal=True)
        finally:
            aws.prepare_tables(dynamodb, aws.Names(state.users_table, state.assessments_table, state.region))
    assert told.retryable
    quoted = told.message.removeprefix("please quote ")
    assert len(quoted) == 12
    assert quoted.isalnum()
    async with dial(who=f"{learner}-2") as phone:
        await phone.begin()


# --- Refused upgrades -----------------------------------------------------------------------------------------------


def upgrade(cloud: Cloud, *subprotocols: str, **headers: str) -> int | str | None:
    """Try to connect; return the status of a refusal, or the subprotocol that was agreed on."""
    try:
        with connect(
            cloud.state.websocket_url,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            additional_headers=headers,
            proxy=None,
        ) as socket:
            return socket.subprotocol
    except InvalidStatus as refused:
        return refused.response.status_code


class Forge:
    """Makes tokens that are right but for one thing."""

    def __init__(self, cloud: Cloud, learner: str) -> None:
        self.cloud = cloud
        self.key = tokens.load_key(Path(cloud.state.token_key_file))
        self.right = tokens.claims(
            issuer=cloud.state.token_issuer,
            learner=learner,
            now_s=time.time(),
            audience=cloud.state.token_audience,
        )
        learners.unlock(cloud.state, learner, ["academic_speaking"])

    def sign(self, **changed: Any) -> str:
        """With other claims; None leaves one out."""
        return tokens.sign(
            self.key, {name: value for name, value in (self.right | changed).items() if value is not None}
        )

    def another_key(self) -> str:
        """Signed by somebody who uses the name of the issuer's key."""
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return jwt.encode(self.right, other, algorithm="RS256", headers={"kid": tokens.key_id(self.key)})

    def unknown_key(self) -> str:
        """Signed by a key that the issuer does not publish."""
        return tokens.sign(rsa.generate_private_key(public_exponent=65537, key_size=2048), self.right)

    def changed_after_signing(self) -> str:
        """With another learner's name put in."""
        head, _, signature = self.sign().split(".")
        return f"{head}.{_part(self.right | {'sub': 'somebody', 'username': 'somebody'})}.{signature}"

    def unsigned(self, algorithm: str = "none") -> str:
        """Signed by nobody, and said to be so."""
        return f"{_part({'alg': algorithm, 'typ': 'JWT', 'kid': tokens.key_id(self.key)})}.{_part(self.right)}."

    def public_key_as_secret(self) -> str:
        """Signed HS256 with what everybody can read: the public key."""
        public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        signed = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': tokens.key_id(self.key)})}.{_part(self.right)}"
        return f"{signed}.{_base64url(hmac.digest(public, signed.encode(), hashlib.sha256))}"


def _part(document: Any) -> str:
    return _base64url(json.dumps(document).encode())


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture
def forge(cloud: Cloud, learner: str) -> Forge:
    """Makes tokens of a learner who may speak with Maya."""
    return Forge(cloud, learner)


def test_a_good_token_is_let_in(cloud, forge):
    """As a subprotocol or as a header; only `maya.v1` is echoed."""
    token = forge.sign()
    assert upgrade(cloud, "maya.v1", f"bearer.{token}") == "maya.v1"
    assert upgrade(cloud, f"bearer.{token}", "maya.v1") == "maya.v1"
    assert upgrade(cloud, "maya.v1", Authorization=f"Bearer {token}") == "maya.v1"


def test_without_subprotocol_or_token(cloud, forge):
    """Both are needed, and one token only."""
    token = forge.sign()
    assert upgrade(cloud) == 401
    assert upgrade(cloud, Authorization=f"Bearer {token}") == 401
    assert upgrade(cloud, f"bearer.{token}") == 401
    assert upgrade(cloud, "maya.v2", f"bearer.{token}") == 401
    assert upgrade(cloud, "maya.v1") == 401
    assert upgrade(cloud, "maya.v1", "bearer.") == 401
    assert upgrade(cloud, "maya.v1", Authorization="Bearer ") == 401
    assert upgrade(cloud, "maya.v1", Authorization=f"Basic {token}") == 401
    assert upgrade(cloud, "maya.v1", f"bearer.{token}", f"bearer.{forge.sign(sub='other', username='other')}") == 401


@pytest.mark.parametrize("text", ["x", "a.b.c", "....", "eyJhbGciOiJSUzI1NiJ9.e30", "A" * 3_000])
def test_malformed(cloud, text):
    """No token at all."""
    assert upgrade(cloud, "maya.v1", f"bearer.{text}") == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1_000_000_000},
        {"exp": None},
        {"nbf": 4_000_000_000},
        {"iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_another"},
        {"iss": None},
        {"client_id": "another-app"},
        {"client_id": None},
        {"token_use": "id"},
        {"token_use": "id", "aud": tokens.AUDIENCE, "client_id": None},
        {"token_use": None},
        {"sub": None, "username": None},
        {"sub": "two words"},
        {"sub": ""},
        {"sub": "x" * 129},
        {"sub": "a}b{c"},
    ],
    ids=lambda changed: " ".join(f"{name}={str(value)[:24]}" for name, value in changed.items()),
)
def test_wrong_claims(cloud, forge, changed):
    """Expired, or of another issuer, audience or use, or without a learner."""
    assert upgrade(cloud, "maya.v1", f"bearer.{forge.sign(**changed)}") == 401


@pytest.mark.parametrize(
    "token",
    [
        Forge.another_key,
        Forge.unknown_key,
        Forge.changed_after_signing,
        Forge.unsigned,
        lambda forge: forge.unsigned("None"),
        lambda forge: forge.unsigned("RS256"),
        Forge.public_key_as_secret,
    ],
    ids=["another key", "unknown key", "changed", "alg none", "alg None", "no signature", "HS256"],
)
def test_wrong_signatures(cloud, forge, token):
    """Signed by somebody else, by nobody, or with the public key as a secret."""
    assert upgrade(cloud, "maya.v1", f"bearer.{token(forge)}") == 401


@pytest.mark.parametrize("unlocked", [[], ["writing", "reading"]])
def test_no_speaking_module(cloud, learner, unlocked):
    """A learner who has unlocked nothing in which Maya speaks, or whom nobody knows."""
    token = cloud.token(learner, unlock=unlocked)
    assert upgrade(cloud, "maya.v1", f"bearer.{token}") == 403
    unknown = learners.token(cloud.state, f"{learner}-unknown")
    assert upgrade(cloud, "maya.v1", f"bearer.{unknown}") == 403
