"""Input events of Nova Sonic."""

import base64
import json
import uuid
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.nova_events import (
    MAX_AUDIO_CHARS,
    MAX_TEXT_CHUNK_BYTES,
    Endpointing,
    PromptEvents,
    Role,
    ToolSpec,
    session_end,
    session_start,
)
from gateway.core.nova_events.build import split_utf8

PROMPT = "6f1c2a4e-3a55-4d0c-9d4f-2b7a0c1d5e6f"
TOOL = ToolSpec("assess_part", "Assess.", {"type": "object", "properties": {"band": {"type": "integer"}}})


def read(event):
    """Return name and fields of an event."""
    document = json.loads(event)
    assert list(document) == ["event"]
    ((name, fields),) = document["event"].items()
    return name, fields


def test_session_start_nests_turn_detection():
    """The endpointing setting stands in its own object: flat, the service refuses the session."""
    event = session_start(max_tokens=1024, top_p=0.9, temperature=0.7, endpointing=Endpointing.HIGH)
    assert read(event) == (
        "sessionStart",
        {
            "inferenceConfiguration": {"maxTokens": 1024, "topP": 0.9, "temperature": 0.7},
            "turnDetectionConfiguration": {"endpointingSensitivity": "HIGH"},
        },
    )


def test_session_start_without_turn_detection():
    """Without endpointing the object is left out, as the first model wants it."""
    assert read(session_start(endpointing=None))[1].keys() == {"inferenceConfiguration"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10_001}, "max_tokens"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
        ({"temperature": -0.1}, "temperature"),
    ],
)
def test_session_start_names_the_value_out_of_range(values, named):
    """A setting outside its range is refused by name."""
    with pytest.raises(ValueError, match=named):
        session_start(**values)


def test_session_end_is_empty():
    """The last event has no fields."""
    assert session_end() == b'{"event":{"sessionEnd":{}}}'


def test_prompt_start_with_tools():
    """Voice, output format and tools; the tool's schema is a JSON document in a string."""
    name, fields = read(PromptEvents(PROMPT).prompt_start(voice="amy", out_rate=24_000, tools=[TOOL]))
    schema = fields["toolConfiguration"]["tools"][0]["toolSpec"]["inputSchema"].pop("json")
    assert json.loads(schema) == TOOL.schema
    assert (name, fields) == (
        "promptStart",
        {
            "promptName": PROMPT,
            "textOutputConfiguration": {"mediaType": "text/plain"},
            "audioOutputConfiguration": {
                "mediaType": "audio/lpcm",
                "sampleRateHertz": 24000,
                "sampleSizeBits": 16,
                "channelCount": 1,
                "voiceId": "amy",
                "encoding": "base64",
                "audioType": "SPEECH",
            },
            "toolUseOutputConfiguration": {"mediaType": "application/json"},
            "toolConfiguration": {
                "tools": [{"toolSpec": {"name": "assess_part", "description": "Assess.", "inputSchema": {}}}],
                "toolChoice": {"auto": {}},
            },
        },
    )


def test_prompt_start_without_tools_has_no_tool_configuration():
    """A prompt without tools does not mention them."""
    _, fields = read(PromptEvents(PROMPT).prompt_start(voice="amy", out_rate=8_000))
    assert fields.keys() == {"promptName", "textOutputConfiguration", "audioOutputConfiguration"}


def test_converse_takes_the_schema_as_an_object():
    """The same tool for the Converse API."""
    assert TOOL.as_converse()["toolSpec"]["inputSchema"] == {"json": TOOL.schema}


@pytest.mark.parametrize(("role", "interactive"), [(Role.SYSTEM, False), (Role.USER, True), (Role.ASSISTANT, False)])
def test_text_block(role, interactive):
    """A block is its start, its text and its end, under one name."""
    start, text, end = map(read, PromptEvents(PROMPT).text_block(role, "Hello.", interactive=interactive))
    name = start[1]["contentName"]
    assert str(uuid.UUID(name)) == name
    assert start == (
        "contentStart",
        {
            "promptName": PROMPT,
            "contentName": name,
            "type": "TEXT",
            "interactive": interactive,
            "role": role.value,
            "textInputConfiguration": {"mediaType": "text/plain"},
        },
    )
    assert text == ("textInput", {"promptName": PROMPT, "contentName": name, "content": "Hello."})
    assert end == ("contentEnd", {"promptName": PROMPT, "contentName": name})


@pytest.mark.parametrize("text", ["", "  \n"])
def test_blank_text_is_refused(text):
    """A block without data would end the stream."""
    with pytest.raises(ValueError, match="blank"):
        PromptEvents(PROMPT).text_block(Role.USER, text, interactive=True)


def test_long_text_goes_in_chunks():
    """A text of more than 4 KB becomes several textInput events that together say the same."""
    text = "Ünïcode ➜ 漢字 🎤 " * 900
    events = [read(event) for event in PromptEvents(PROMPT).text_block(Role.SYSTEM, text, interactive=False)]
    chunks = [fields["content"] for name, fields in events if name == "textInput"]
    assert len(chunks) > 2
    assert "".join(chunks) == text
    assert max(len(chunk.encode()) for chunk in chunks) <= MAX_TEXT_CHUNK_BYTES
    assert len({fields["contentName"] for _, fields in events}) == 1


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(4, 12))
def test_split_keeps_every_character_whole(text, max_bytes):
    """Pieces are within the limit, as full as characters allow, and join to the text."""
    pieces = split_utf8(text, max_bytes)
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= max_bytes for piece in pieces)
    assert all(len((piece + after[0]).encode()) > max_bytes for piece, after in pairwise(pieces))


def test_split_refuses_a_limit_below_one_character():
    """A limit that some characters exceed could not be kept."""
    with pytest.raises(ValueError, match="max_bytes"):
        split_utf8("🎤", 3)


@settings(deadline=None)
@given(st.text(st.characters(categories=["Cs", "Lu"]), min_size=1))
def test_lone_surrogates_still_make_valid_events(text):
    """Text that no UTF-8 can carry is mended, not raised about."""
    events = PromptEvents(PROMPT).text_block(Role.USER, text, interactive=True)
    content = "".join(read(event)[1].get("content", "") for event in events)
    assert content == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def test_audio_container():
    """Opening, audio and closing of the one audio container share its name."""
    prompt = PromptEvents(PROMPT)
    (audio,) = prompt.audio_input("AAEC")
    start, end = read(prompt.audio_start(rate=16_000)), read(prompt.audio_end())
    name = start[1]["contentName"]
    assert start == (
        "contentStart",
        {
            "promptName": PROMPT,
            "contentName": name,
            "type": "AUDIO",
            "interactive": True,
            "role": "USER",
            "audioInputConfiguration": {
                "mediaType": "audio/lpcm",
                "sampleRateHertz": 16000,
                "sampleSizeBits": 16,
                "channelCount": 1,
                "audioType": "SPEECH",
                "encoding": "base64",
            },
        },
    )
    assert read(audio) == ("audioInput", {"promptName": PROMPT, "contentName": name, "content": "AAEC"})
    assert end == ("contentEnd", {"promptName": PROMPT, "contentName": name})


@pytest.mark.parametrize("method", ["audio_start", "prompt_start"])
def test_odd_rates_are_refused(method):
    """The service takes three sample rates."""
    prompt = PromptEvents(PROMPT)
    with pytest.raises(ValueError, match="rate must be one of"):
        prompt.audio_start(rate=44_100) if method == "audio_start" else prompt.prompt_start(voice="a", out_rate=44_100)


@settings(deadline=None)
@given(st.integers(0, 9_000).flatmap(lambda samples: st.binary(min_size=2 * samples, max_size=2 * samples)))
def test_audio_is_cut_without_loss(pcm):
    """However long a frame is, its events hold whole samples within the limit and the same bytes in order."""
    pieces = [read(event)[1]["content"] for event in PromptEvents(PROMPT).audio_input(base64.b64encode(pcm).decode())]
    decoded = [base64.b64decode(piece, validate=True) for piece in pieces]
    assert b"".join(decoded) == pcm
    assert all(0 < len(part) <= 3_996 and len(part) % 2 == 0 for part in decoded)
    assert len(pieces) == -(-len(pcm) // 3_996)


@pytest.mark.parametrize(("chars", "events"), [(0, 0), (4, 1), (MAX_AUDIO_CHARS, 1), (MAX_AUDIO_CHARS + 4, 2)])
def test_audio_events_per_frame(chars, events):
    """A frame is one event up to 3,996 bytes of PCM."""
    assert len(PromptEvents(PROMPT).audio_input("A" * chars)) == events


def test_tool_result_is_a_json_document_in_a_string():
    """The answer to a tool use, with the media type that the service demands."""
    start, result, end = map(read, PromptEvents(PROMPT).tool_result("use-1", {"error": "band is missing"}))
    name = start[1]["contentName"]
    assert start == (
        "contentStart",
        {
            "promptName": PROMPT,
            "contentName": name,
            "type": "TOOL",
            "interactive": False,
            "role": "TOOL",
            "toolResultInputConfiguration": {
                "toolUseId": "use-1",
                "type": "TEXT",
                "textInputConfiguration": {"mediaType": "text/plain"},
            },
        },
    )
    assert result[0] == "toolResult"
    assert json.loads(result[1].pop("content")) == {"error": "band is missing"}
    assert result[1] == {"promptName": PROMPT, "contentName": name}
    assert end == ("contentEnd", {"promptName": PROMPT, "contentName": name})


def test_prompt_end():
    """The prompt's end names the prompt."""
    assert read(PromptEvents(PROMPT).prompt_end()) == ("promptEnd", {"promptName": PROMPT})


def test_content_names_differ_and_depend_on_the_prompt_name_alone():
    """No two containers share a name, and the same prompt name gives the same events."""

    def names(prompt_name):
        prompt = PromptEvents(prompt_name)
        events = [prompt.audio_start(rate=8_000)]
        events += [prompt.text_block(Role.USER, "Hi.", interactive=True)[0] for _ in range(3)]
        events.append(prompt.tool_result("x", {})[0])
        return [read(event)[1]["contentName"] for event in events]

    assert len(set(names(PROMPT))) == 5
    assert names(PROMPT) == names(PROMPT)
    assert not set(names(PROMPT)) & set(names("another"))
