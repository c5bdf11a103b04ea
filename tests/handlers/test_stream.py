"""The stream handler: what becomes of a message with a relay, without one, and when Redis or Lambda fails."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from redis import Redis as RedisClient
from redis.client import PubSub

from gateway.core.messages import MAX_MESSAGE_BYTES, Bye, Error
from gateway.core.wire import parse_down
from handlers import bus, no_relay, stream
from handlers.guard import HandlerFailed
from tests.adapters.aws_server import Answer, AwsServer
from tests.handlers.events import (
    CONNECTED_AT_MS,
    CONNECTION,
    LEARNER,
    RECEIVED_AT_MS,
    SESSION,
    Context,
    message_event,
)
from tests.handlers.listening import listening, next_message

CHANNEL = f"maya:{{{LEARNER}}}:up"
LEASE = f"maya:{{{LEARNER}}}:lease"
START_KEY = f"maya:{{{LEARNER}}}:start"
SESSION_KEY = f"maya:{{{LEARNER}}}:session"

START = {"action": "stream", "type": "start", "session_id": SESSION, "module": "academic_speaking"}
RESUME = {"action": "stream", "type": "resume", "session_id": SESSION, "n": 3, "seq": 5}
AUDIO = {"action": "stream", "type": "audio", "seq": 0, "t": 0, "pcm": "AAAA" * 1000}


def send(body: Any, **options: Any) -> dict[str, int]:
    """Call the handler with a message; return its answer."""
    return stream.handler(message_event(body, **options), Context())


def launches(aws: AwsServer) -> list[Any]:
    """Return the payloads that relays were invoked with."""
    return [request.document for request in aws.requests if "/invocations" in request.path]


def posts(aws: AwsServer) -> list[Any]:
    """Return what was posted to the phone, as its app reads it."""
    return [parse_down(request.body.decode()) for request in aws.requests if "@connections" in request.path]


@pytest.fixture
def listener(redis_client: RedisClient) -> Iterator[PubSub]:
    """Subscribe to the learner's channel."""
    with listening(redis_client, CHANNEL) as subscriber:
        yield subscriber


@pytest.mark.parametrize("route", ["stream", "$default"])
def test_a_message_goes_to_the_relay_as_it_is(
    redis_client: RedisClient, listener: PubSub, aws: AwsServer, route: str
) -> None:
    """Header line and body arrive, the body untouched; no other call is made, and nothing is stored."""
    redis_client.set(LEASE, "7:relay")
    body = '{"action":"stream","type":"ping","id":1,"at":2}\n\u00e9 \U0001f600 not even JSON'
    assert send(body, route=route) == {"statusCode": 200}
    header, _, received = next_message(listener).partition(b"\n")
    assert header.decode() == f"1 m {CONNECTION} {CONNECTED_AT_MS} {RECEIVED_AT_MS}"
    assert received == body.encode()
    assert not aws.requests
    assert redis_client.keys() == [LEASE.encode()]


def test_too_large_a_message_is_cut_so_that_the_relay_refuses_it(redis_client: RedisClient, listener: PubSub) -> None:
    """No bus carries what the relay would drop; one character over the limit is enough to be dropped."""
    redis_client.set(LEASE, "7:relay")
    send("x" * 130_000)
    _, _, body = next_message(listener).partition(b"\n")
    assert len(body) == MAX_MESSAGE_BYTES + 1


def test_half_a_character_does_no_harm(redis_client: RedisClient, listener: PubSub) -> None:
    """JSON can name half of a UTF-16 pair, which UTF-8 cannot carry."""
    redis_client.set(LEASE, "7:relay")
    send("\ud83d")
    assert next_message(listener).endswith(b"\n?")


def test_start_invokes_one_relay(redis_client: RedisClient, aws: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The first start without a lease invokes a relay with ids alone; its repetitions do not for five seconds."""
    for _ in range(3):
        assert send(START) == {"statusCode": 200}
    assert launches(aws) == [{"version": 1, "learner": LEARNER}]
    request = aws.requests[0]
    assert request.path == "/2015-03-31/functions/maya-relay/invocations"
    assert request.headers["X-Amz-Invocation-Type"] == "Event"
    assert 0 < redis_client.ttl(START_KEY) <= 5
    assert json.loads(capsys.readouterr().out) == {
        "event": "relay_started",
        "level": "info",
        "learner": LEARNER,
        "connection_id": CONNECTION,
    }


@pytest.mark.parametrize("body", [RESUME, AUDIO, {"type": "ping", "id": 1, "at": 1}, {"type": "stop", "seq": 4}])
def test_a_lost_relay_is_replaced(redis_client: RedisClient, aws: AwsServer, body: Any) -> None:
    """An open session without a lease had its relay die: any message starts another one."""
    redis_client.set(SESSION_KEY, json.dumps({"version": 1, "state": "open"}))
    send(body)
    assert launches(aws) == [{"version": 1, "learner": LEARNER}]
    assert not posts(aws)


def test_after_the_end_only_resume_starts_a_relay(redis_client: RedisClient, aws: AwsServer) -> None:
    """The assessment can be asked for again; late speech is ignored, without an answer."""
    redis_client.set(SESSION_KEY, json.dumps({"state": "ended"}))
    send(AUDIO)
    assert not aws.requests
    send(RESUME)
    assert len(launches(aws)) == 1
    redis_client.delete(START_KEY)
    send(START)
    assert len(launches(aws)) == 2


def test_resume_of_nothing(redis_client: RedisClient, aws: AwsServer) -> None:
    """The phone is told that the session is gone, and that this is all."""
    send(RESUME)
    error, bye = posts(aws)
    assert isinstance(error, Error)
    assert (error.code, error.fatal, error.retryable, error.epoch, error.ref) == (
        "session_gone",
        True,
        False,
        0,
        "resume",
    )
    assert bye == Bye(epoch=0, reason="failed")
    assert unquote(aws.requests[0].path) == f"/live/@connections/{CONNECTION}"
    assert "=" not in aws.requests[0].path
    assert not launches(aws)


def test_audio_of_no_session(redis_client: RedisClient, aws: AwsServer) -> None:
    """Speech before start is answered once a second at most, whatever its rate."""
    for seq in range(10):
        send({**AUDIO, "seq": seq})
    (error,) = posts(aws)
    assert isinstance(error, Error)
    assert (error.code, error.fatal, error.ref) == ("not_started", False, "audio")


@pytest.mark.parametrize("message_type", ["ack", "ping", "pong"])
def test_what_may_get_lost_is_not_answered(redis_client: RedisClient, aws: AwsServer, message_type: str) -> None:
    """Acknowledgements and pings of no session are nobody's fault."""
    send({"action": "stream", "type": message_type})
    assert not aws.requests


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "7", '"start"', "null", "{}", '{"type":7}', '{"type":["start"]}', '{"type":"shout"}', "[" * 20_000],
)
def test_a_bad_message_without_a_relay(redis_client: RedisClient, aws: AwsServer, body: Any) -> None:
    """What no relay could make anything of is refused without a look at Redis, and never quoted."""
    redis_client.set(SESSION_KEY, json.dumps({"state": "open"}))
    assert send(body) == {"statusCode": 200}
    (error,) = posts(aws)
    assert isinstance(error, Error)
    assert (error.code, error.fatal) == ("bad_message", False)
    assert "shout" not in error.message
    assert not launches(aws)


def test_answers_are_spaced_by_connection(redis_client: RedisClient, aws: AwsServer) -> None:
    """Each phone gets its own answers, a second apart, whichever execution environment it meets."""
    for environment in range(3):
        if environment:
            bus.wire().close()
            no_relay._phones.cache_clear()
        send(AUDIO)
        send(AUDIO, connectionId="other=")
    assert len(posts(aws)) == 2
    told = f"{RATE}:told"
    assert 0 < redis_client.pttl(told) <= 1_000
    redis_client.delete(told)
    send(AUDIO)
    assert len(posts(aws)) == 3


RATE = f"maya:{{{LEARNER}}}:rate:{CONNECTION}"
REFUSED = f"maya:{{{LEARNER}}}:refused"
YOUNG = {"connectedAt": RECEIVED_AT_MS - 500}


def deletions(aws: AwsServer) -> list[str]:
    """Return the paths of connections that were deleted."""
    return [unquote(request.path) for request in aws.requests if request.method == "DELETE"]


@pytest.mark.parametrize("body", ["{", {"type": "ack"}, START, "x" * 100_000], ids=["bad", "ack", "start", "giant"])
def test_a_flood_where_there_is_no_relay(
    redis_client: RedisClient, aws: AwsServer, capsys: pytest.CaptureFixture[str], body: Any
) -> None:
    """The connection is deleted once, and nothing more of it is looked at."""
    for _ in range(140):
        send(body, **YOUNG)
    assert deletions(aws) == [f"/live/@connections/{CONNECTION}"]
    assert 50 < redis_client.ttl(REFUSED) <= 60
    assert 0 < redis_client.ttl(RATE) <= 12
    assert capsys.readouterr().out.count('"flood"') == 1
    before = len(aws.requests)
    send(START, **YOUNG)
    assert len(aws.requests) == before


def test_start_is_refused_after_a_flood(redis_client: RedisClient, aws: AwsServer) -> None:
    """On any connection, with the time that is left; then a relay is started as ever."""
    redis_client.set(REFUSED, round((time.time() + 42.0) * 1000), ex=42)
    send(START)
    error, bye = posts(aws)
    assert isinstance(error, Error)
    assert (error.code, error.fatal, error.retryable) == ("busy", True, True)
    assert error.retry_after_s is not None
    assert 40 < error.retry_after_s <= 42
    assert bye == Bye(epoch=0, reason="failed")
    assert not launches(aws)
    redis_client.delete(REFUSED)
    send(START)
    assert len(launches(aws)) == 1


def test_coming_back_is_not_refused(redis_client: RedisClient, aws: AwsServer) -> None:
    """Who flooded may still end the session that is open."""
    redis_client.set(REFUSED, round((time.time() + 42.0) * 1000), ex=42)
    redis_client.set(SESSION_KEY, json.dumps({"state": "open"}))
    send(RESUME)
    assert len(launches(aws)) == 1


def test_what_a_line_held_back_is_no_flood(redis_client: RedisClient, aws: AwsServer) -> None:
    """A connection that is a while old may send at once what it did not use."""
    for _ in range(700):
        send({"type": "ack"}, connectedAt=RECEIVED_AT_MS - 60_000)
    assert not deletions(aws)
    assert not redis_client.exists(REFUSED)


def test_a_connection_that_cannot_be_deleted(
    redis_client: RedisClient, aws: AwsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried again with each sixty messages; one that is gone is no failure."""
    aws.default = Answer(status=500)
    for _ in range(90 + 121):
        send({"type": "ack"}, **YOUNG)
    assert len(deletions(aws)) == 3
    assert capsys.readouterr().out.count('"disconnect_failed"') == 3
    aws.default = Answer(status=410, error="GoneException")
    for _ in range(60):
        send({"type": "ack"}, **YOUNG)
    assert len(deletions(aws)) == 4
    assert "disconnect_failed" not in capsys.readouterr().out


def test_with_a_relay_nothing_is_counted_here(redis_client: RedisClient, aws: AwsServer) -> None:
    """The relay does; the usual way stays one command each for publishing and reading."""
    redis_client.set(LEASE, "7:relay")
    for _ in range(200):
        send({"type": "ack"}, **YOUNG)
    assert redis_client.keys() == [LEASE.encode()]
    assert not aws.requests


@pytest.mark.parametrize("value", ["no JSON", "[]", '{"state":7}', "{}"])
def test_a_session_that_cannot_be_read_is_none(redis_client: RedisClient, aws: AwsServer, value: str) -> None:
    """A key of another version does not keep a learner from starting anew."""
    redis_client.set(SESSION_KEY, value)
    send(AUDIO)
    assert [error.code for error in posts(aws)] == ["not_started"]


def test_a_phone_that_is_gone_is_no_failure(
    redis_client: RedisClient, aws: AwsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is there to be told: the log gets a code and the handler ends well."""
    aws.default = Answer(status=410, error="GoneException")
    assert send(RESUME) == {"statusCode": 200}
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["event"], event["code"]) for event in events] == [
        ("refused", "session_gone"),
        ("post_failed", "phone_gone"),
    ]
    assert len(aws.requests) == 1


def test_lambda_refuses(redis_client: RedisClient, aws: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An error with a code; the phone's next start may try again when the lock has gone."""
    aws.default = Answer(status=403, document={"Message": "user maya may not"}, error="AccessDeniedException")
    with pytest.raises(HandlerFailed, match=r"^access_refused$") as caught:
        send(START)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    (line,) = capsys.readouterr().out.splitlines()
    logged = json.loads(line)
    assert logged.pop("at").startswith("gateway.adapters.aws_calls:")
    assert logged == {
        "event": "handler_failed",
        "level": "error",
        "handler": "handlers.stream",
        "code": "access_refused",
        "error": "AccessRefused",
        "request_id": Context.aws_request_id,
    }


def test_redis_is_away(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error with a code and nothing of the message, in the log either."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    with pytest.raises(HandlerFailed, match=r"^redis_unavailable$"):
        send({**AUDIO, "pcm": "c2VjcmV0IHZvaWNl"})
    out = capsys.readouterr().out
    assert "c2VjcmV0IHZvaWNl" not in out
    assert json.loads(out)["code"] == "redis_unavailable"


def test_without_an_authorizer_nothing_is_done(redis_client: RedisClient, aws: AwsServer) -> None:
    """A route that was deployed without the authorizer's learner is an error, never somebody's channel."""
    with pytest.raises(HandlerFailed, match=r"^no_learner$"):
        send(START, learner=None)
    assert not redis_client.keys()


_BUDGET = """
import sys
sys.path.insert(0, "")
import handlers.stream, handlers.disconnect
from tests.handlers.events import message_event
handlers.stream.handler(message_event('{"type":"audio"}'), None)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
print(*sorted(name for name in sys.modules if name.startswith(("gateway.", "handlers."))))
"""


def test_the_usual_way_imports_next_to_nothing(redis_client: RedisClient, valkey: str) -> None:
    """A fresh interpreter that has published a message has loaded none of the large packages."""
    redis_client.set(LEASE, "7:relay")
    result = subprocess.run(
        [sys.executable, "-c", _BUDGET], capture_output=True, text=True, check=True, env={"REDIS_URL": valkey}
    )
    packages, modules = (set(line.split()) for line in result.stdout.splitlines())
    assert not packages & {
        "asyncio",
        "aws_lambda_powertools",
        "boto3",
        "botocore",
        "concurrent",
        "email",
        "http",
        "jwt",
        "logging",
        "pydantic",
        "redis",
        "ssl",
        "structlog",
        "unittest",
    }
    assert modules == {
        "gateway.adapters",
        "gateway.adapters.traces",
        "gateway.core",
        "gateway.core.errors",
        "gateway.settings",
        "handlers.bus",
        "handlers.disconnect",
        "handlers.guard",
        "handlers.redis_wire",
        "handlers.stream",
    }
