"""Output events of Nova Sonic."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.nova_events import (
    AudioOutput,
    CompletionEnd,
    CompletionStart,
    ContentEnd,
    ContentKind,
    ContentStart,
    InterruptedMarker,
    MalformedEvent,
    Role,
    Stage,
    StopReason,
    TextOutput,
    ToolUse,
    UnknownEvent,
    Usage,
    UserSpeechEnd,
    UserSpeechStart,
    parse_event,
)

IDS = {"sessionId": "s-1", "promptName": "p-1", "completionId": "c-1"}


def chunk(name, /, **fields):
    """Return an event as the service sends it."""
    return json.dumps({"event": {name: {**IDS, **fields}}}).encode()


def container(content_id, kind, role, stop, *events, stage=None):
    """Return the events of one container of the model."""
    extra = {} if stage is None else {"additionalModelFields": json.dumps({"generationStage": stage})}
    configuration = {f"{kind.lower()}OutputConfiguration": {"mediaType": "text/plain"}}
    return [
        chunk("contentStart", contentId=content_id, type=kind, role=role, **extra, **configuration),
        *(chunk(name, contentId=content_id, role=role, **fields) for name, fields in events),
        chunk("contentEnd", contentId=content_id, type=kind, stopReason=stop),
    ]


PCM = base64.b64encode(b"\x01\x02" * 1920).decode()
TOTALS = {"input": {"speechTokens": 48, "textTokens": 310}, "output": {"speechTokens": 61, "textTokens": 22}}

CANONICAL_TURN = [
    chunk("userSpeechStart", inputAudioOffsetMs=0),
    chunk("completionStart"),
    chunk("userSpeechEnd", inputAudioOffsetMs=1920, inputAudioDetectionOffsetMs=2400),
    *container("u", "TEXT", "USER", "PARTIAL_TURN", ("textOutput", {"content": "I live in Graz."}), stage="FINAL"),
    *container(
        "t",
        "TOOL",
        "TOOL",
        "TOOL_USE",
        ("toolUse", {"toolName": "assess_part", "toolUseId": "use-1", "content": '{"band": 6}'}),
    ),
    *container("a", "TEXT", "ASSISTANT", "PARTIAL_TURN", ("textOutput", {"content": "I see."}), stage="SPECULATIVE"),
    *container("b", "AUDIO", "ASSISTANT", "END_TURN", ("audioOutput", {"content": PCM})),
    *container("f", "TEXT", "ASSISTANT", "END_TURN", ("textOutput", {"content": "I see."}), stage="FINAL"),
    chunk("usageEvent", details={"delta": {}, "total": TOTALS}, totalTokens=441),
    chunk("completionEnd", stopReason="END_TURN"),
]


def test_the_canonical_turn():
    """A recorded turn, event for event."""
    assert [parse_event(payload) for payload in CANONICAL_TURN] == [
        UserSpeechStart(0.0),
        CompletionStart("c-1"),
        UserSpeechEnd(1920.0, 2400.0),
        ContentStart("u", ContentKind.TEXT, Role.USER, Stage.FINAL),
        TextOutput("u", Role.USER, "I live in Graz."),
        ContentEnd("u", ContentKind.TEXT, StopReason.PARTIAL_TURN),
        ContentStart("t", ContentKind.TOOL, Role.TOOL, None),
        ToolUse("t", "use-1", "assess_part", {"band": 6}),
        ContentEnd("t", ContentKind.TOOL, StopReason.TOOL_USE),
        ContentStart("a", ContentKind.TEXT, Role.ASSISTANT, Stage.SPECULATIVE),
        TextOutput("a", Role.ASSISTANT, "I see."),
        ContentEnd("a", ContentKind.TEXT, StopReason.PARTIAL_TURN),
        ContentStart("b", ContentKind.AUDIO, Role.ASSISTANT, None),
        AudioOutput("b", PCM, 3840),
        ContentEnd("b", ContentKind.AUDIO, StopReason.END_TURN),
        ContentStart("f", ContentKind.TEXT, Role.ASSISTANT, Stage.FINAL),
        TextOutput("f", Role.ASSISTANT, "I see."),
        ContentEnd("f", ContentKind.TEXT, StopReason.END_TURN),
        Usage(speech_in=48, text_in=310, speech_out=61, text_out=22),
        CompletionEnd(StopReason.END_TURN),
    ]


@pytest.mark.parametrize("text", ['{ "interrupted" : true }', '{"interrupted":true}\n'])
def test_the_interrupted_marker_is_no_speech(text):
    """Barge-in comes as a text of its own, which nobody said."""
    assert parse_event(chunk("textOutput", contentId="a", role="ASSISTANT", content=text)) == InterruptedMarker("a")


@pytest.mark.parametrize("text", ['{ "interrupted" : false }', "{ interrupted }", '{"interrupted": true, "x": 1}', ""])
def test_other_texts_are_speech(text):
    """Only the exact marker counts."""
    event = parse_event(chunk("textOutput", contentId="a", role="ASSISTANT", content=text))
    assert event == TextOutput("a", Role.ASSISTANT, text)


def test_text_without_role_leaves_it_to_the_container():
    """A missing role is not guessed."""
    assert parse_event(chunk("textOutput", contentId="a", content="Hi.")) == TextOutput("a", None, "Hi.")


def test_text_is_valid_unicode():
    """A lone surrogate from a JSON escape cannot reach UTF-8 encoders further on."""
    event = parse_event(b'{"event":{"textOutput":{"contentId":"a","role":"USER","content":"x\\ud83d y"}}}')
    assert event == TextOutput("a", Role.USER, "x\ufffd y")


ARGUMENTS = {"band": 6, "comment": "ok"}


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (json.dumps(ARGUMENTS), ARGUMENTS),
        (json.dumps(json.dumps(ARGUMENTS)), ARGUMENTS),
        (ARGUMENTS, ARGUMENTS),
        ("{}", {}),
        ("[1]", None),
        ("{broken", None),
        ('"{broken"', None),
        ("[" * 100_000, None),
        ("null", None),
        (None, None),
        (7, None),
    ],
)
def test_tool_arguments(content, arguments):
    """Arguments are read also when encoded twice; unreadable ones still give a tool use, for it must be answered."""
    event = parse_event(chunk("toolUse", contentId="t", toolName="assess_part", toolUseId="use-1", content=content))
    assert event == ToolUse("t", "use-1", "assess_part", arguments)


@pytest.mark.parametrize("extra", ['{"generationStage":"NEW"}', "not json", "[]", 5, None])
def test_an_unknown_stage_is_none(extra):
    """A stage that cannot be read is not guessed."""
    event = parse_event(chunk("contentStart", contentId="a", type="TEXT", role="USER", additionalModelFields=extra))
    assert event == ContentStart("a", ContentKind.TEXT, Role.USER, None)


def test_a_stage_in_a_plain_object_is_read():
    """The service's string within JSON may one day be mended."""
    fields = {"generationStage": "FINAL"}
    event = parse_event(chunk("contentStart", contentId="a", type="TEXT", role="USER", additionalModelFields=fields))
    assert event == ContentStart("a", ContentKind.TEXT, Role.USER, Stage.FINAL)


@pytest.mark.parametrize("fields", [{"type": "VIDEO", "role": "USER"}, {"type": "TEXT", "role": "BAND"}, {}])
def test_unknown_containers_are_ignored(fields):
    """A container of a kind or role that is not known is an unknown event."""
    assert parse_event(chunk("contentStart", contentId="a", **fields)) == UnknownEvent("contentStart")


def test_unknown_reasons_and_fields():
    """Stop reasons not known, and fields not known, are no error."""
    assert parse_event(chunk("contentEnd", contentId="a", stopReason="TIRED", new=[1])) == ContentEnd(
        "a", None, StopReason.OTHER
    )
    assert parse_event(chunk("completionEnd", stopReason="FINISHED")) == CompletionEnd(StopReason.OTHER)


@pytest.mark.parametrize("value", [None, "12", True, -1, 1e300, 10**400])
def test_offsets_that_are_no_offsets(value):
    """An offset of a wrong type or size is told as unknown; the speech signal itself counts."""
    payload = json.dumps({"event": {"userSpeechStart": {"inputAudioOffsetMs": value}}}).encode()
    assert parse_event(payload) == UserSpeechStart(None)


@pytest.mark.parametrize("details", [None, {}, {"total": []}, {"total": {"input": {"speechTokens": "many"}}}])
def test_usage_without_figures_is_zero(details):
    """Missing token counts are zero, not an error."""
    assert parse_event(chunk("usageEvent", details=details)) == Usage(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no event"),
        (b'{"event": 1}', "no event"),
        (b'{"event": {}}', "no event"),
        (b'{"event": {"textOutput": "x"}}', "textOutput is not an object"),
        (chunk("textOutput", content="x"), "textOutput.contentId is no identifier"),
        (chunk("textOutput", contentId="a"), "textOutput.content is no string"),
        (chunk("textOutput", contentId="i" * 257, content="x"), "textOutput.contentId is no identifier"),
        (chunk("toolUse", toolName="x", content="{}"), "toolUse.toolUseId is no identifier"),
        (chunk("audioOutput", contentId="a"), "audioOutput.content is no string"),
        (chunk("audioOutput", contentId="a", content=""), "audioOutput.content holds no whole samples"),
        (chunk("audioOutput", contentId="a", content="AA=="), "audioOutput.content holds no whole samples"),
        (chunk("audioOutput", contentId="a", content="AAE"), "audioOutput.content is not base64"),
        (chunk("audioOutput", contentId="a", content="A=AA"), "audioOutput.content is not base64"),
        (chunk("audioOutput", contentId="a", content="===="), "audioOutput.content is not base64"),
        (chunk("audioOutput", contentId="a", content='A"AA'), "audioOutput.content is not base64"),
        (chunk("audioOutput", contentId="a", content="AÄAA"), "audioOutput.content is not base64"),
        (chunk("audioOutput", contentId="a", content="AA\ud800A"), "audioOutput.content is not base64"),
    ],
)
def test_malformed_events_name_the_field(payload, reason):
    """What cannot be read is an event too, which says what was wrong."""
    assert parse_event(payload) == MalformedEvent(reason)


def test_unknown_event_names_are_fit_for_a_log():
    """A name from outside is shortened and stripped of anything but letters, digits, - and _."""
    assert parse_event(b'{"event":{"newEvent":null}}') == UnknownEvent("newEvent")
    event = parse_event(json.dumps({"event": {"a b\n\u00e9" + "x" * 100: {}}}).encode())
    assert event == UnknownEvent("a?b??" + "x" * 59)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=300).filter(lambda pcm: len(pcm) % 2 == 0))
def test_audio_of_any_content_keeps_its_base64(pcm):
    """Speech is passed on as it came, with its length in bytes."""
    content = base64.b64encode(pcm).decode()
    assert parse_event(chunk("audioOutput", contentId="a", content=content)) == AudioOutput("a", content, len(pcm))


@settings(deadline=None)
@given(st.text(st.sampled_from("AZaz09+/= -_\n"), max_size=16))
def test_base64_is_checked_as_strictly_as_by_decoding(content):
    """The cheap check and a strict decoder agree on what is base64."""
    try:
        expected = len(base64.b64decode(content, validate=True))
    except ValueError:
        expected = 0
    event = parse_event(chunk("audioOutput", contentId="a", content=content))
    if expected and expected % 2 == 0:
        assert event == AudioOutput("a", content, expected)
    else:
        assert isinstance(event, MalformedEvent)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    "completionStart", "userSpeechStart", "userSpeechEnd", "contentStart", "textOutput",
    "audioOutput", "toolUse", "contentEnd", "usageEvent", "completionEnd", "other",
]  # fmt: skip
FIELDS = [
    "contentId", "completionId", "type", "role", "content", "toolName", "toolUseId",
    "stopReason", "details", "additionalModelFields", "inputAudioOffsetMs",
]  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON)
def test_no_fields_can_break_the_parser(name, fields):
    """Whatever a known event carries, the answer is an event."""
    parse_event(json.dumps({"event": {name: fields}}).encode())


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_can_break_the_parser(payload):
    """Whatever the chunk holds, the answer is an event."""
    assert isinstance(parse_event(payload), MalformedEvent | UnknownEvent)


@pytest.mark.parametrize(
    "event",
    [
        TextOutput("a", Role.USER, "secret"),
        AudioOutput("a", "secret", 2),
        ToolUse("a", "b", "c", {"comment": "secret"}),
    ],
)
def test_content_stays_out_of_the_representation(event):
    """Words, sound and arguments do not reach a log by way of repr."""
    assert "secret" not in repr(event)
