"""The plain voice's code, through real audio."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.nova.voices import tones
from infra.local.nova.voices.plain import hear

RATES = st.sampled_from(tones.RATES)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60), rate=RATES, lead=st.integers(0, 700), tail=st.integers(0, 700))
def test_any_text_comes_back_through_audio(text: str, rate: int, lead: int, tail: int) -> None:
    """Any text, at any rate, with any silence around it, is read back word for word."""
    pcm = bytes(2 * lead) + tones.encode(text, rate) + bytes(2 * tail)

    assert hear(pcm, rate) == tones.spoken_form(text)


@settings(max_examples=30, deadline=None)
@given(text=st.text("abcdefgh ", min_size=1, max_size=40), rate=RATES, seed=st.integers(0, 2**16))
def test_hiss_and_low_volume_change_nothing(text: str, rate: int, seed: int) -> None:
    """A quarter of the volume and hiss at -50 dB leave the words as they were."""
    clean = np.frombuffer(tones.encode(text, rate), "<i2")
    hiss = np.random.default_rng(seed).normal(0, 100, clean.size)
    heard = (clean * 0.25 + hiss).astype("<i2").tobytes()

    assert hear(heard, rate) == tones.spoken_form(text)


@pytest.mark.parametrize("rate", tones.RATES)
def test_no_sample_is_clipped(rate: int) -> None:
    """The loudest symbol stays clear of full scale."""
    everything = tones.encode("".join(chr(c) for c in range(33, 127)), rate)

    peak = np.abs(np.frombuffer(everything, "<i2").astype(int)).max()

    assert 16000 < peak < 20000


def test_a_letter_lasts_twenty_milliseconds_and_a_gap_forty() -> None:
    """Durations are those that the module promises."""
    assert len(tones.encode("ab c", 16000)) == 2 * 16 * (3 * 20 + 40)


def test_what_was_cut_out_of_a_word_does_not_spoil_the_next_words() -> None:
    """The decoder finds its place again at every gap."""
    pcm = tones.encode("elephants never forget", 16000)
    cut = pcm[:1000] + pcm[2100:]

    assert hear(cut, 16000).split()[1:] == ["never", "forget"]


def test_a_spoilt_letter_is_shown_as_lost() -> None:
    """A letter drowned in noise becomes U+FFFD, the others stay."""
    samples = np.frombuffer(tones.encode("remember", 16000), "<i2").copy()
    samples[2 * 320 : 3 * 320] = np.random.default_rng(1).integers(-9000, 9000, 320)

    assert hear(samples.tobytes(), 16000) == "re\N{REPLACEMENT CHARACTER}ember"


@pytest.mark.parametrize(
    "sound",
    [
        lambda t: 8000 * np.sin(2 * np.pi * 1000 * t),
        lambda t: np.random.default_rng(2).normal(0, 3000, t.size),
        lambda t: 8000 * np.sign(np.sin(2 * np.pi * 150 * t)),
    ],
    ids=["whistle", "noise", "buzz"],
)
def test_other_sound_is_named_by_its_length(
    sound: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> None:
    """What is not the plain voice is never taken for words."""
    time_s = np.arange(2.4 * 16000) / 16000

    assert hear(sound(time_s).astype("<i2").tobytes(), 16000) == "speech of 2.4 seconds"


def test_silence_is_nothing() -> None:
    """Silence has no words and no length; nor has no audio at all."""
    assert hear(bytes(32000), 16000) == ""
    assert hear(b"", 16000) == ""


def test_an_unknown_rate_is_named() -> None:
    """The error says which rate was asked for."""
    with pytest.raises(ValueError, match="44100 Hz"):
        tones.encode("a", 44100)


@pytest.mark.parametrize(
    ("text", "complete"),
    [("I live here.", True), ("Do you?", True), ("Yes!", True), ("and then", False), ("well,", False)],
)
@pytest.mark.parametrize("rate", tones.RATES)
def test_the_end_of_a_sentence_is_known_from_its_last_letter(text: str, complete: bool, rate: int) -> None:
    """A full stop, question or exclamation mark ends a sentence."""
    assert tones.ends_sentence(tones.encode(text, rate)[-4000:] + bytes(2000), rate) is complete


def test_silence_ends_no_sentence() -> None:
    """Where nothing was said, nothing ended."""
    assert not tones.ends_sentence(bytes(4000), 16000)
