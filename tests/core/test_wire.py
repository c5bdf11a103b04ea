"""Messages from and to text."""

import base64
import contextlib
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import examples
from gateway.core.errors import BadAudio, BadMessage
from gateway.core.messages import (
    DOWN_MESSAGES,
    MAX_MESSAGE_BYTES,
    UP_MESSAGES,
    AssessmentMessage,
    AudioDown,
    AudioUp,
    Bye,
    Ping,
)
from gateway.core.wire import (
    check_audio,
    encode,
    encode_audio_down,
    parse_down,
    parse_up,
    pcm_bytes_count,
    pcm_duration_ms,
)

AUDIO = {"action": "stream", "type": "audio", "seq": 3, "t": 300, "pcm": base64.b64encode(bytes(640)).decode()}
SECRET = "words of a conversation"


def text(**changes):
    """An audio message with changes; None takes a field away."""
    return json.dumps({key: value for key, value in {**AUDIO, **changes}.items() if value is not None})


@pytest.mark.parametrize("message", [examples.of(cls) for cls in UP_MESSAGES], ids=lambda message: message.type)
def test_messages_of_the_app_come_back(message):
    """What is written is read again, from text and from bytes."""
    assert parse_up(encode(message)) == message
    assert parse_up(encode(message).encode()) == message
    assert json.loads(encode(message))["action"] == "stream"


@pytest.mark.parametrize("message", [examples.of(cls) for cls in DOWN_MESSAGES], ids=lambda message: message.type)
def test_messages_of_the_gateway_come_back(message):
    """What is written is read again, from text and from bytes."""
    assert parse_down(encode(message)) == message
    assert parse_down(encode(message).encode()) == message


def test_text_is_compact_and_leaves_out_what_has_no_value():
    """No spaces; no nulls but those of the assessment's own document."""
    assert encode(examples.of(Ping)) == '{"type":"ping","action":"stream","id":7,"at":93500.0}'
    assert "null" not in "".join(encode(message) for message in examples.EXAMPLES if message.type != "assessment")


def test_action_may_be_missing_but_not_wrong():
    """What has no route goes the same way through `$default`; another action is another contract's."""
    assert parse_up(text(action=None)) == parse_up(text())
    with pytest.raises(BadMessage, match="action: must be 'stream'"):
        parse_up(text(action="other"))


@pytest.mark.parametrize(
    ("body", "says", "ref"),
    [
        ("", "not JSON", None),
        ("hello", "not JSON", None),
        (b"\xff\xfe\x00", "not JSON", None),
        ("\ud800", "not JSON", None),
        ('{"type":"audio"} trailing', "not JSON", None),
        ("[]", "not a JSON object", None),
        ("3", "not a JSON object", None),
        ("null", "not a JSON object", None),
        ("{}", "type: missing", None),
        ('{"type":"shout"}', "type: unknown; must be one of 'start', 'resume', 'audio'", None),
        ('{"type":["audio"]}', "type: unknown", None),
        ('{"type":null}', "type: unknown", None),
        (text(seq=None), "seq: missing", "audio"),
        (text(seq="3"), "seq: must be an integer", "audio"),
        (text(seq=True), "seq: must be an integer", "audio"),
        (text(seq=3.5), "seq: must be an integer", "audio"),
        (text(seq=-1), "seq: must be 0 or more", "audio"),
        (text(seq=2**53), "seq: must be 9007199254740991 or less", "audio"),
        (text(t="now"), "t: must be a number", "audio"),
        (text().replace("300", "NaN"), "t: must be a finite number", "audio"),
        (text().replace("300", "1e999"), "t: must be a finite number", "audio"),
        (text(pcm=3), "pcm: must be a string", "audio"),
        (text(volume=3), "an unknown field: not a field of this message; it has seq, t, pcm", "audio"),
        (text(n=3), "n: not a field of this message", "audio"),
        (text(**{SECRET: 1}), "an unknown field: not a field of this message", "audio"),
        (f'{{"type":"ack","n":{"9" * 5000},"queue_ms":0}}', "not JSON", None),
        (
            '{"type":"lag_choice","prompt_id":"","choice":"skip"}',
            "prompt_id: must have 1 or more characters",
            "lag_choice",
        ),
        ('{"type":"lag_choice","prompt_id":"1","choice":"wait"}', "choice: must be 'continue' or 'skip'", "lag_choice"),
        ('{"type":"resume","session_id":"7","n":0,"seq":0}', "session_id: must match ^[0-9a-fA-F]{8}-", "resume"),
        (f'{{"type":"{SECRET}"}}', "type: unknown; must be one of 'start'", None),
        (text(client="x" * MAX_MESSAGE_BYTES), "larger than 24576 bytes", None),
        (text(client="é" * (MAX_MESSAGE_BYTES // 2)).encode().decode("unicode_escape"), "larger than", None),
    ],
)
def test_what_is_wrong_is_named(body, says, ref):
    """The error names the field or what the whole is not, never what stood there."""
    with pytest.raises(BadMessage) as refused:
        parse_up(body)
    assert refused.value.message.startswith(says)
    assert refused.value.ref == ref
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize("depth", [250, 5_000, 12_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_a_bad_message(depth, opening):
    """No depth of nesting reaches Python's own stack."""
    body = '{"type":' + opening * (min(depth * len(opening), MAX_MESSAGE_BYTES - 100) // len(opening))
    with pytest.raises(BadMessage, match="nested too deeply"):
        parse_up(body)
    with pytest.raises(BadMessage, match="nested too deeply"):
        parse_down(body)


@pytest.mark.parametrize(
    ("pcm", "says"),
    [
        ("!!!!", "pcm: not base64"),
        ("AAA", "pcm: not base64"),
        ("A===", "pcm: not base64"),
        ("====", "pcm: not base64"),
        ("AAAA\n", "pcm: not base64"),
        ("AA A", "pcm: not base64"),
        ("AA==AAAA", "pcm: not base64"),
        ("ÄÄÄÄ", "pcm: not base64"),
        ("-_-_", "pcm: not base64"),
        ("AAAA", "pcm: odd number of bytes"),
        ("AA==", "pcm: odd number of bytes"),
    ],
)
def test_bad_audio(pcm, says):
    """Audio that is not base64 of whole samples is named as audio, with its number."""
    with pytest.raises(BadAudio, match=says) as refused:
        parse_up(text(pcm=pcm))
    assert refused.value.ref == 3


@given(st.binary(max_size=64))
def test_base64_is_taken_and_counted(data):
    """Every padded base64 of whole samples is taken, and its bytes are counted without decoding."""
    pcm = base64.b64encode(data).decode()
    assert pcm_bytes_count(pcm) == len(data)
    if len(data) % 2 == 0:
        assert parse_up(text(pcm=pcm)) == AudioUp(seq=3, t=300, pcm=pcm)
    else:
        with pytest.raises(BadAudio):
            parse_up(text(pcm=pcm))


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
@pytest.mark.parametrize(("ms", "good"), [(0, False), (19, False), (20, True), (100, True), (250, True), (251, False)])
def test_length_of_a_frame(rate, ms, good):
    """A frame lasts 20 to 250 ms at the microphone's rate."""
    audio = AudioUp(seq=9, t=0, pcm=base64.b64encode(bytes(rate * ms // 1000 * 2)).decode())
    assert pcm_duration_ms(audio.pcm, rate) == ms
    if good:
        check_audio(audio, rate)
        return
    with pytest.raises(BadAudio, match="20 to 250 ms") as refused:
        check_audio(audio, rate)
    assert refused.value.ref == 9


@pytest.mark.parametrize(
    "body",
    [
        '{"message": "Forbidden", "connectionId":"XDmENcnwIE0CFEQ=", "requestId":"XDmGEE2RoE0FRdQ="}',
        '{"type":"applause","epoch":1}',
        '{"type":3}',
        "{}",
    ],
)
def test_the_app_ignores(body):
    """What has no type, as API Gateway's own frames, and unknown types are nothing to the app."""
    assert parse_down(body) is None


@pytest.mark.parametrize(
    "body", ["", "[]", '{"type":"bye"}', '{"type":"bye","epoch":1,"reason":"bored"}', "x" * 30_000]
)
def test_the_app_notices_a_broken_gateway(body):
    """A message that breaks the contract is a bad message for the app too."""
    with pytest.raises(BadMessage):
        parse_down(body)


def test_the_gateway_may_add_fields():
    """A later gateway's fields are left out by an earlier app."""
    assert parse_down('{"type":"bye","epoch":1,"reason":"finished","mood":"good"}') == Bye(epoch=1, reason="finished")


def test_speech_is_written_the_short_way():
    """The short way writes what the model would."""
    pcm = base64.b64encode(bytes(range(240)) * 50).decode()
    message = AudioDown(epoch=5, n=6, turn=7, rate=24000, pcm=pcm)
    assert encode_audio_down(epoch=5, n=6, turn=7, rate=24000, pcm=pcm) == encode(message)


def test_the_short_way_keeps_json_whole():
    """Whatever stands in `pcm`, no field can be smuggled in."""
    written = json.loads(encode_audio_down(epoch=5, n=6, turn=7, rate=24000, pcm='","n":9,"x":"\n'))
    assert written["n"] == 6


def test_nothing_larger_than_the_bound_is_written():
    """An assessment is the only message that could outgrow 24 KiB; it is refused with its type."""
    with pytest.raises(ValueError, match="assessment: message larger"):
        encode(AssessmentMessage(epoch=1, n=1, assessment={"summary": "x" * MAX_MESSAGE_BYTES}, saved=True))


def mutate(rng, body):
    """Damage a text: characters, slices, repetition, values of other kinds."""
    match rng.randrange(5):
        case 0:
            place = rng.randrange(len(body) + 1)
            return body[:place] + chr(rng.choice((0, 34, 44, 92, 125, 233, 0xD800, 0x1F600))) + body[place:]
        case 1:
            start = rng.randrange(len(body))
            return body[:start] + body[start + rng.randrange(1, 9) :]
        case 2:
            return body + body[: rng.randrange(len(body))]
        case 3:
            fields = json.loads(body)
            odd: tuple[object, ...] = (
                None,
                True,
                -1,
                1e308,
                2**70,
                [],
                {},
                [[]] * 50,
                "x" * 30,
                {"type": "audio"},
                "\u0000",
            )
            fields[rng.choice([*fields, "extra"])] = rng.choice(odd)
            return json.dumps(fields)
        case _:
            return "".join(rng.sample(body, len(body)))


def test_fuzzed_messages_raise_nothing_else():
    """10,000 damaged messages are read, or refused as bad messages or bad audio, in both directions."""
    rng = random.Random(20261120)
    bodies = [encode(message) for message in examples.EXAMPLES]
    refused = 0
    for _ in range(10_000):
        body = mutate(rng, rng.choice(bodies))
        for parse in (parse_up, parse_down):
            try:
                parse(body)
            except (BadMessage, BadAudio):
                refused += 1
    assert refused > 5_000


@given(st.binary(max_size=200) | st.text(max_size=200))
@settings(max_examples=300)
def test_any_bytes_and_any_text(body):
    """Nothing that can arrive raises anything but a bad message."""
    for parse in (parse_up, parse_down):
        with contextlib.suppress(BadMessage, BadAudio):
            parse(body)
