"""Ten thousand messages that nobody should send, in a conversation that goes on; the same ones in every run."""

import contextlib
import json
import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.conversation import State
from gateway.core.errors import BadMessage, ProtocolError
from gateway.core.messages import UP_MESSAGES, UpMessage
from gateway.core.wire import parse_down, parse_up
from handlers import no_relay
from tests.core.conversation.scene import SESSION, Scene
from tests.hostile import fuzz

_BATCHES = 250
_BATCH = 40
_EVERY_MS = 40.0
_ENDING = ("stop", "start", "resume")
"""Rightly formed, these end the conversation: that is another test's affair."""

_PATTERNS = set(re.findall(r'"pattern": "([^"]+)"', json.dumps([kind.model_json_schema() for kind in UP_MESSAGES])))

RANDOM = settings(
    max_examples=_BATCHES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


def harmless(text: str) -> bool:
    """Whether a message cannot rightly end the conversation."""
    read = reading(text)
    return isinstance(read, ProtocolError) or read.type not in _ENDING


def reading(text: str) -> UpMessage | ProtocolError:
    """What the gateway makes of a message."""
    try:
        return parse_up(text.encode(errors="replace"))
    except ProtocolError as error:
        return error


@pytest.fixture(scope="module")
def counted():
    """How many messages were sent in all."""
    counts = {"messages": 0, "refused": 0}
    yield counts
    assert counts["messages"] >= _BATCHES * _BATCH
    # Both kinds must have been there, or the fuzzer has lost its aim.
    assert counts["messages"] * 0.3 < counts["refused"] < counts["messages"] * 0.95


@RANDOM
@given(rng=st.randoms(use_true_random=False))
def test_whatever_a_phone_sends_the_conversation_goes_on(counted, rng):
    """Each is answered within the contract, at most once a second, and quoted nowhere; speech still arrives."""
    scene = Scene().talk()
    began_ms = scene.now_ms
    for _ in range(_BATCH):
        text = fuzz.message(rng)
        if not harmless(text):
            text = "{}"
        counted["messages"] += 1
        counted["refused"] += isinstance(reading(text), ProtocolError)
        scene.say(text)
        scene.wait(_EVERY_MS)
    errors = scene.told("error")
    assert scene.state is State.TALKING
    assert len(errors) <= 1 + (scene.now_ms - began_ms) / 1_000
    assert not any(error["fatal"] for error in errors)
    for _, _, message in scene.posts:
        assert parse_down(json.dumps(message)) is not None
    before = scene.conversation._uplink.acknowledged
    scene.audio(seq=before + 1, t=max(0.0, scene.now_ms - 1_000))
    assert scene.conversation._uplink.acknowledged > before


@settings(RANDOM, max_examples=300)
@given(rng=st.randoms(use_true_random=False))
def test_no_error_quotes_what_was_sent(rng):
    """The text names a field of the contract and what it asks for there, whatever stands in the message."""
    error = reading(fuzz.message(rng))
    if isinstance(error, ProtocolError):
        said = error.message
        for pattern in _PATTERNS:
            said = said.removesuffix(pattern)
        assert re.fullmatch(r"[A-Za-z0-9 ,:;'_.-]{1,160}", said)
        assert error.__cause__ is None
        assert error.__context__ is None or error.__suppress_context__


@settings(RANDOM, max_examples=300)
@given(rng=st.randoms(use_true_random=False))
def test_the_front_door_refuses_what_it_cannot_read(rng):
    """Without a relay the same messages end in a type of maya.v1 or in a protocol error, never in a crash."""
    with contextlib.suppress(BadMessage):
        assert no_relay._type_of(fuzz.message(rng)) in no_relay._TYPES


def test_a_conversation_survives_what_may_end_it_too():
    """With `stop`, other sessions and connections among the messages: it may end, but in order, and never breaks."""
    for seed in range(60):
        rng = random.Random(seed)
        scene = Scene().talk()
        for number in range(_BATCH):
            scene.say(fuzz.message(rng), rng.choice("aab"), 1 + number // 10)
            scene.wait(_EVERY_MS)
        scene.wait(200_000)
        assert scene.state in (State.ENDED, State.SAVING, State.SUMMARISING)
        for message in scene.told("ready"):
            assert message["session_id"] == SESSION
