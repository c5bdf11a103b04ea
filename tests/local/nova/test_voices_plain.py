"""The plain ears: turns by loudness, words by tones."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.nova.interfaces import Ears, Endpointing, HeardEvent, SpeechEnd, SpeechStart
from infra.local.nova.voices import make_ears, make_voice, speak_plain, tones, warm_up
from infra.local.nova.voices.endpointing import DOCUMENTED_PAUSE_MS, SHORT_PAUSE_MS, pauses
from infra.local.nova.voices.plain import LONGEST_UTTERANCE_S, PlainEars, Utterance


def silence(seconds: float, rate: int = 16000) -> bytes:
    return bytes(2 * int(seconds * rate))


def listen(
    ears: Ears, pcm: bytes, rate: int = 16000, frame_bytes: int = 1024, start_ms: float = 0.0
) -> list[HeardEvent]:
    events: list[HeardEvent] = []
    for at in range(0, len(pcm), frame_bytes):
        events += ears.feed(pcm[at : at + frame_bytes], start_ms + at * 500 / rate)
    return events


def only_end(events: list[HeardEvent]) -> SpeechEnd:
    """Return the end of the one turn in `events`."""
    start, end = events
    assert isinstance(start, SpeechStart)
    assert isinstance(end, SpeechEnd)
    return end


def listen_in_random_frames(ears: Ears, pcm: bytes, rate: int, seed: int) -> list[HeardEvent]:
    chance = random.Random(seed)
    events: list[HeardEvent] = []
    at = 0
    while at < len(pcm):
        size = chance.randint(1, 7000)
        events += ears.feed(pcm[at : at + size], at * 500 / rate)
        at += size
    return events


@settings(max_examples=40, deadline=None)
@given(
    text=st.text(min_size=1, max_size=40).filter(lambda t: t.split()),
    rate=st.sampled_from(tones.RATES),
    lead_ms=st.integers(0, 900),
    seed=st.integers(0, 2**16),
)
async def test_words_survive_any_framing(text: str, rate: int, lead_ms: int, seed: int) -> None:
    """A turn is found and read however its audio is chopped, also in the middle of samples."""
    ears = make_ears("plain", rate=rate, endpointing="MEDIUM")
    pcm = bytes(2 * rate * lead_ms // 1000) + speak_plain(text, rate) + silence(2, rate)

    events = listen_in_random_frames(ears, pcm, rate, seed)
    end = only_end(events)

    assert events[0].offset_ms == pytest.approx(lead_ms, abs=11)
    assert await ears.transcribe(end.text_request) == tones.spoken_form(text)


@pytest.mark.parametrize("endpointing", ["HIGH", "MEDIUM", "LOW"])
def test_an_unfinished_sentence_waits_for_the_documented_pause(endpointing: Endpointing) -> None:
    """Without a full stop the turn ends after 1.5, 1.75 or 2.0 s of silence."""
    ears = make_ears("plain", rate=16000, endpointing=endpointing)

    end = only_end(listen(ears, speak_plain("and then", 16000) + silence(2.2)))

    assert end.detection_offset_ms - end.offset_ms == pytest.approx(DOCUMENTED_PAUSE_MS[endpointing], abs=10)


@pytest.mark.parametrize(
    ("endpointing", "pause_ms"),
    [("HIGH", SHORT_PAUSE_MS), ("MEDIUM", SHORT_PAUSE_MS), ("LOW", 2000)],
)
def test_a_finished_sentence_ends_the_turn_as_recorded(endpointing: Endpointing, pause_ms: float) -> None:
    """After a full stop 450 ms are enough, except where sensitivity is LOW."""
    ears = make_ears("plain", rate=16000, endpointing=endpointing)

    end = only_end(listen(ears, speak_plain("That is all.", 16000) + silence(2.2)))

    assert end.detection_offset_ms - end.offset_ms == pytest.approx(pause_ms, abs=10)


async def test_a_pause_inside_a_turn_does_not_end_it() -> None:
    """A second of thought after an unfinished sentence belongs to the turn, and the words come out whole."""
    ears = make_ears("plain", rate=16000, endpointing="MEDIUM")
    pcm = speak_plain("I think, well,", 16000) + silence(1.2) + speak_plain("it is late.", 16000) + silence(0.6)

    end = only_end(listen(ears, pcm))

    assert await ears.transcribe(end.text_request) == "I think, well, it is late."


def test_tempo_shortens_the_pauses() -> None:
    """At four times the tempo the pause lasts a quarter."""
    ears = make_ears("plain", rate=16000, endpointing="HIGH", tempo=4)

    end = only_end(listen(ears, speak_plain("and then", 16000) + silence(1)))

    assert end.detection_offset_ms - end.offset_ms == pytest.approx(1500 / 4, abs=10)


def test_speech_is_reported_while_it_lasts() -> None:
    """Barge-in: the start is known within two blocks of the first sound, long before the end of the turn."""
    ears = make_ears("plain", rate=16000, endpointing="HIGH")
    pcm = silence(0.5) + speak_plain("Excuse me, Maya", 16000)
    fed_ms = None
    for at in range(0, len(pcm), 320):
        if ears.feed(pcm[at : at + 320], at / 32):
            fed_ms = at / 32 + 10
            break

    assert fed_ms == pytest.approx(520, abs=10)


async def test_turns_follow_each_other_with_their_own_words() -> None:
    """Offsets go on through the session, and each turn has its own text."""
    ears = make_ears("plain", rate=8000, endpointing="MEDIUM")
    first, second = speak_plain("One.", 8000), speak_plain("Two.", 8000)
    pcm = first + silence(1, 8000) + second + silence(1, 8000)

    events = listen(ears, pcm, 8000, 512)

    assert [type(e) for e in events] == [SpeechStart, SpeechEnd] * 2
    assert [await ears.transcribe(e.text_request) for e in events if isinstance(e, SpeechEnd)] == ["One.", "Two."]
    assert events[2].offset_ms == pytest.approx(len(first) / 16 + 1000, abs=11)


def test_a_click_is_no_speech() -> None:
    """Five milliseconds of noise start no turn."""
    ears = make_ears("plain", rate=16000, endpointing="HIGH")
    click = np.random.default_rng(1).integers(-9000, 9000, 80).astype("<i2").tobytes()

    assert listen(ears, silence(0.2) + click + silence(2)) == []


def test_offsets_are_the_callers() -> None:
    """What the caller says about where audio lies is believed."""
    ears = make_ears("plain", rate=16000, endpointing="HIGH")

    events = listen(ears, speak_plain("Yes.", 16000) + silence(1), start_ms=60_000.0)

    assert events[0].offset_ms == 60_000.0
    assert events[1].offset_ms == pytest.approx(60_080, abs=10)


async def test_a_person_is_heard_but_not_understood() -> None:
    """Sound that is no code gives a truthful placeholder."""
    ears = make_ears("plain", rate=16000, endpointing="HIGH")
    voice = (np.random.default_rng(3).normal(0, 2500, 24000)).astype("<i2").tobytes()

    end = only_end(listen(ears, silence(0.3) + voice + silence(2)))

    assert await ears.transcribe(end.text_request) == "speech of 1.5 seconds"


def test_an_endless_turn_is_cut_and_the_buffer_stays_bounded() -> None:
    """After three minutes without a pause the turn is over, and hearing goes on."""
    ears = PlainEars(rate=8000, endpointing="HIGH")
    hum = np.full(8000, 3000, "<i2").tobytes()
    events: list[HeardEvent] = []
    for second in range(int(LONGEST_UTTERANCE_S) + 5):
        events += ears.feed(hum, second * 1000.0)
        assert len(ears._heard) <= (LONGEST_UTTERANCE_S + 1) * 16000

    assert [type(e) for e in events] == [SpeechStart, SpeechEnd, SpeechStart]
    assert events[1].offset_ms == pytest.approx(LONGEST_UTTERANCE_S * 1000, abs=100)


def test_hours_of_silence_keep_nothing() -> None:
    """Only the last moments before a turn are held."""
    ears = PlainEars(rate=16000, endpointing="HIGH")

    listen(ears, silence(30))

    assert len(ears._heard) <= 32 * 50


def test_the_audio_of_a_turn_is_not_printed() -> None:
    """A request that lands in a message shows no samples."""
    assert "pcm" not in repr(Utterance(b"secret", 16000))


async def test_a_foreign_request_is_refused() -> None:
    """Ears only read what they reported."""
    with pytest.raises(TypeError, match="str is not a request"):
        await make_ears("plain", rate=16000, endpointing="HIGH").transcribe("words")


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"rate": 11025, "endpointing": "HIGH"}, "11025"),
        ({"rate": 8000, "endpointing": "SOON"}, "SOON"),
        ({"rate": 8000, "endpointing": "HIGH", "tempo": 0}, "tempo is 0"),
    ],
)
def test_settings_out_of_range_are_named(kwargs: dict[str, Any], named: str) -> None:
    """Each wrong setting is refused with its value."""
    with pytest.raises(ValueError, match=named):
        make_ears("plain", **kwargs)


def test_pauses_scale_together() -> None:
    """Tempo applies to both pauses."""
    assert (pauses("HIGH", 2).short_ms, pauses("HIGH", 2).end_ms) == (225, 750)


async def test_the_plain_voice_says_what_the_ears_read() -> None:
    """Voice and ears agree, whatever the voice id."""
    await warm_up("plain")
    voice = make_voice("plain")

    assert await voice.speak("Hello.", 24000, "amy") == await voice.speak("Hello.", 24000, "tina")
    assert await voice.speak("Hello.", 24000, "amy") == speak_plain("Hello.", 24000)
