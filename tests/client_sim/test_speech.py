"""Recorded speech."""

import math
import wave
from array import array
from itertools import pairwise

import pytest

from client_sim import speech
from client_sim.speech import SpeechFileError, Utterance, read_wav, resample, utterances


def tone(ms, rate=16000, hertz=440, level=8000):
    """A tone as samples."""
    return array("h", (round(level * math.sin(2 * math.pi * hertz * i / rate)) for i in range(rate * ms // 1000)))


def quiet(ms, rate=16000):
    """Digital silence as samples."""
    return array("h", bytes(rate * ms // 1000 * 2))


def record(path, samples, *, rate=16000, channels=1, width=2):
    """Write a WAV file."""
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(channels)
        recording.setsampwidth(width)
        recording.setframerate(rate)
        recording.writeframes(samples if isinstance(samples, bytes) else samples.tobytes())
    return path


def crossings(samples):
    """How often a sound changes its sign: twice its frequency."""
    return sum((a < 0) != (b < 0) for a, b in pairwise(samples))


def test_a_recording_at_the_right_rate_is_taken_as_it_is(tmp_path):
    """Byte for byte."""
    samples = tone(300)
    assert read_wav(record(tmp_path / "a.wav", samples), 16000) == samples.tobytes()


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_other_rates_are_brought_to_the_microphones(tmp_path, rate):
    """Length and pitch stay."""
    pcm = read_wav(record(tmp_path / "a.wav", tone(1_000, rate), rate=rate), 16000)
    assert len(pcm) // 2 == pytest.approx(16000, abs=2)
    assert crossings(array("h", pcm)) == pytest.approx(880, abs=4)


def test_both_channels_are_heard(tmp_path):
    """Stereo becomes their mean."""
    left, right = array("h", [100, 300] * 400), array("h", [300, 500] * 400)
    both = array("h", (sample for pair in zip(left, right, strict=True) for sample in pair))
    pcm = read_wav(record(tmp_path / "a.wav", both, channels=2), 16000)
    assert array("h", pcm) == array("h", [200, 400] * 400)


def test_going_down_does_not_fold_high_tones_back():
    """What the lower rate cannot carry is damped."""
    high = resample(tone(500, rate=48000, hertz=7_500), 48000, 8000)
    low = resample(tone(500, rate=48000, hertz=300), 48000, 8000)
    assert max(high) < max(low) / 3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: record(path, b"\x80" * 800, width=1), "8-bit samples; 16-bit PCM is needed"),
        (lambda path: record(path, bytes(2400), width=3), "24-bit samples; 16-bit PCM is needed"),
        (lambda path: record(path, b""), "no sound in it"),
        (lambda path: path.write_bytes(b"ID3 this is music"), "cannot be read as a WAV file"),
        (lambda path: path.write_bytes(b""), "cannot be read as a WAV file"),
        (lambda path: None, "cannot be read as a WAV file"),
        (lambda path: record(path, bytes(80), rate=300_000), "300000 samples a second is no sample rate"),
    ],
)
def test_files_that_cannot_serve_say_why(tmp_path, make, says):
    """The text names the file and what is wrong with it."""
    path = tmp_path / "odd.wav"
    make(path)
    with pytest.raises(SpeechFileError, match=says) as refused:
        read_wav(path, 16000)
    assert "odd.wav" in str(refused.value)


def test_a_file_that_is_too_long_is_refused(tmp_path, monkeypatch):
    """Before it is read."""
    monkeypatch.setattr(speech, "LONGEST_FILE_S", 1)
    with pytest.raises(SpeechFileError, match="longer than 1 s"):
        read_wav(record(tmp_path / "a.wav", tone(1_100)), 16000)


def test_speech_is_cut_at_its_silences():
    """Pauses shorter than a breath do not cut; each utterance knows where its voice ends."""
    samples = quiet(500) + tone(800) + quiet(200) + tone(600) + quiet(500) + tone(1_000) + quiet(400)
    first, second = utterances(samples.tobytes(), 16000)
    assert len(first.pcm) / 32 == pytest.approx(1_600 + 120, abs=45)
    assert first.voiced_bytes / 32 == pytest.approx(1_600 + 60, abs=45)
    assert len(second.pcm) / 32 == pytest.approx(1_000 + 120, abs=45)
    assert len(second.pcm) - second.voiced_bytes == 60 * 32


def test_a_click_is_no_utterance():
    """Sounds too short to be words are left out."""
    samples = tone(700) + quiet(600) + tone(100) + quiet(600) + tone(700)
    assert len(utterances(samples.tobytes(), 16000)) == 2


def test_an_endless_utterance_is_cut(monkeypatch):
    """Nobody speaks for ever without a breath."""
    monkeypatch.setattr(speech, "_LONGEST_MS", 1_000)
    assert len(utterances(tone(2_500).tobytes(), 16000)) == 3


@pytest.mark.parametrize("pcm", [b"", bytes(32_000), (array("h", [50, -50]) * 8_000).tobytes()])
def test_without_speech_there_is_no_learner(pcm):
    """Silence and hiss are refused."""
    with pytest.raises(SpeechFileError, match="no speech found"):
        utterances(pcm, 16000)


def test_speech_without_margins():
    """A scripted utterance is voiced to its end."""
    assert Utterance.of(b"1234") == Utterance(b"1234", 4)
