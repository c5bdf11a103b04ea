"""Small parts of a load run: generated speech, histogram, gauges, tokens, settings."""

import asyncio
import json
import sys
import wave
from random import Random

import pytest

from client_sim.clock import RealClock
from client_sim.load.gauges import SendSlip, Speaker, watched
from client_sim.load.histogram import Histogram, merged
from client_sim.load.plain_speech import ANSWERS, plain_utterances, spoken
from client_sim.load.settings import LoadSettings
from client_sim.load.speech import utterances_of
from client_sim.load.tokens import TokenError, ends_soon, fetch_token
from gateway.core.messages import AudioUp, Resume
from gateway.core.wire import encode
from infra.local.nova.voices.plain import hear
from tests.client_sim.virtual import VirtualClock, run


def settings(**changes):
    fields = {
        "url": "ws://127.0.0.1:1/dev",
        "token_command": "echo t-{i}",
        "phones": 4,
        "minutes": 1,
        "ramp_s": 1,
        "regions": ("near", "bad-mobile"),
        "label": "try",
        "out": "run.jsonl",
        "frame_ms": 100,
    }
    return LoadSettings(**{**fields, **changes})


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_plain_ears_understand_generated_speech(rate):
    """Letter by letter, at every rate of maya.v1."""
    assert hear(spoken(ANSWERS[0], rate), rate) == ANSWERS[0]
    utterances = plain_utterances(rate)
    assert len(utterances) == len(ANSWERS)
    assert all(utterance.voiced_bytes == len(utterance.pcm) for utterance in utterances)


def test_learners_speak_with_a_recording_where_one_is_given(tmp_path):
    """Cut into utterances, at the microphone's rate."""
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16000)
        recording.writeframes(spoken("one two three", 16000) + bytes(32_000) + spoken("four five six", 16000))
    assert len(utterances_of(settings(speech=str(path)))) == 2
    assert utterances_of(settings()) == plain_utterances(16000)


def test_a_histogram_is_near_to_its_samples():
    """Every percentile to within 0.8 %, from microseconds to minutes."""
    chance = Random(1)
    samples = sorted(10 ** chance.uniform(-2.5, 5) for _ in range(5_000))
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = samples[max(0, -(-int(share * 100_000) * len(samples) // 100_000) - 1)]
        assert exact - 0.001 <= histogram.quantile(share) <= exact * 1.008 + 0.001
    assert histogram.total == 5_000
    assert histogram.most == pytest.approx(samples[-1], rel=0.008)


def test_histograms_are_merged_without_loss():
    """Parts that were written down and read again give what the whole gives."""
    whole, parts = Histogram(), [Histogram() for _ in range(3)]
    for number in range(3_000):
        whole.add(number / 7)
        parts[number % 3].add(number / 7)
    read = [Histogram.read(json.loads(json.dumps(part.take().written()))) for part in parts]
    assert merged(read).written() == whole.written()
    assert merged(read).spread() == whole.spread()
    assert all(part.total == 0 for part in parts)
    assert Histogram().quantile(0.5) is None
    assert Histogram().most is None


def frame(seq, t, ms=100):
    return encode(AudioUp(seq=seq, t=t, pcm="AAAA" * (ms * 32 // 3)))


def test_slip_is_lateness_against_the_audio_clock():
    """The best frame tells when the clock began; a frame sent again, and what is no frame, do not count."""
    histogram = Histogram()
    slip = SendSlip(16000, histogram)
    for seq, late_ms in enumerate([3, 0, 0, 7, 0]):
        slip.sent(frame(seq, seq * 100.0), 5_100 + seq * 100.0 + late_ms)
    slip.sent(frame(2, 200.0), 9_000)
    slip.sent('{"type":"ack","action":"stream","n":1,"queue_ms":0}', 9_000)
    assert histogram.total == 5
    assert histogram.most == pytest.approx(7, rel=0.02)


def test_what_the_line_held_up_is_not_slip():
    """Frames that piled up behind a full line or a lost one say nothing about the program."""

    class Slow:
        async def send(self, text):
            if '"seq":2' in text:
                await asyncio.sleep(0.5)

    async def work():
        clock = VirtualClock()
        histogram = Histogram()
        slip = SendSlip(16000, histogram)

        async def connect(url, token):
            return Slow()

        line = await watched(connect, slip, clock)("u", "t")
        for seq in range(10):
            due_s = 0.1 * (seq + 1)
            await asyncio.sleep(max(0.0, due_s - clock.now_ms() / 1000))
            await line.send(frame(seq, seq * 100.0))
        return histogram

    histogram = run(work())
    assert histogram.most < 20
    assert histogram.total < 10


def test_what_waits_behind_a_replay_is_not_slip():
    """After a drop the line is busy with what was missed; from the first frame in time on, lateness counts again."""
    histogram = Histogram()
    slip = SendSlip(16000, histogram)
    slip.sent(frame(0, 0.0), 100)
    slip.sent(encode(Resume(session_id="0b9f3a52-6f0e-4c1d-9a57-2f6f0c9d1e11", n=1, seq=0)), 500)
    for seq, sent_ms in ((1, 900), (2, 900), (8, 910), (9, 1_005), (10, 1_150)):
        slip.sent(frame(seq, seq * 100.0), sent_ms)
    assert histogram.total == 4
    assert histogram.most == pytest.approx(50, rel=0.01)


def test_the_speaker_tells_of_gaps_and_of_silence():
    """A late piece with the length of its gap, and the moment at which barge-in stopped a sounding turn."""
    late, silent = [], []
    speaker = Speaker(lead_ms=0, late=lambda *told: late.append(told), silenced=silent.append)
    speaker.add("a", 8000, bytes(1_600), 0)
    speaker.add("a", 8000, bytes(1_600), 130)
    assert late == [(30, 130, False)]
    assert (speaker.pieces, speaker.late_pieces) == (2, 1)
    speaker.drop("b", 150)
    assert silent == []
    speaker.drop("a", 160)
    assert silent == [160]


def test_a_silence_before_a_new_sentence_is_a_pause():
    """It may be Maya's own: it is told, and is no late piece; the next silence is one again."""
    late = []
    speaker = Speaker(lead_ms=0, late=lambda *told: late.append(told), silenced=lambda at: None)
    speaker.add("a", 8000, bytes(1_600), 0)
    speaker.expect_sentence()
    speaker.add("a", 8000, bytes(1_600), 250)
    speaker.add("a", 8000, bytes(1_600), 390)
    assert late == [(150, 250, True), (40, 390, False)]
    assert speaker.late_pieces == 1


async def test_a_token_is_what_the_command_prints():
    """One word, and the phone's number in its place."""
    command = f"{sys.executable} -c \"print('token-{{i}}')\""
    assert await fetch_token(command, 7) == "token-7"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; sys.exit('no key')", "failed with 1: no key"),
        ("import sys; sys.exit(3)", "failed with 3: it said nothing"),
        ("pass", "no token"),
        ("print('two words')", "more than one word"),
    ],
)
async def test_a_command_without_token_is_told(code, says):
    """With its reason, and without what it printed as a token."""
    with pytest.raises(TokenError, match=says):
        await fetch_token(f'{sys.executable} -c "{code}"', 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no sessions of processes")
async def test_ctrl_c_does_not_reach_the_command():
    """It belongs to the run, which ends in order: a command that dies of it would count as one that fails."""
    assert await fetch_token(f'{sys.executable} -c "import os; print(os.getpid() == os.getsid(0))"', 0) == "True"


async def test_a_command_that_cannot_run_is_told():
    """Nor one that is empty."""
    with pytest.raises(TokenError, match="cannot be run"):
        await fetch_token("/no/such/program {i}", 0)
    with pytest.raises(TokenError, match="empty"):
        await fetch_token(" ", 0)


def test_what_is_no_token_with_an_end_never_ends():
    """Whatever it is, it is only read."""
    for token in ("t", "a.b.c", "e30.e30.x", "e30.W10.x", "e30.eyJleHAiOiJ4In0.x"):
        assert not ends_soon(token, 0.0)
    assert ends_soon("e30.eyJleHAiOjF9.x", 0.0)
    assert not ends_soon("e30.eyJleHAiOjF9.x", -1_000.0)


def test_settings_travel_between_processes():
    """On one line, and the same again."""
    asked = settings(speech="x.wav", ca="y.pem")
    assert "\n" not in asked.as_line()
    assert LoadSettings.from_line(asked.as_line()) == asked
    assert str(asked.ca_path) == "y.pem"
    assert settings().ca_path is None


def test_regions_and_interruptions_are_dealt_evenly():
    """Each region gets its share of phones, and of those that interrupt."""
    asked = settings(barge_in=0.25)
    assert [asked.region_of(phone) for phone in range(4)] == ["near", "bad-mobile"] * 2
    for first in (0, 1):
        assert sum(asked.interrupts(phone) for phone in range(first, 40, 2)) == 5
    assert not any(settings(barge_in=0).interrupts(phone) for phone in range(20))
    assert all(settings(barge_in=1).interrupts(phone) for phone in range(20))


def test_the_clock_of_real_runs():
    """Slips are told in milliseconds of the machine's clock."""
    clock = RealClock()
    assert clock.seconds(250) == 0.25
    assert clock.now_ms() <= clock.now_ms()
