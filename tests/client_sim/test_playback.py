"""The speaker that plays by the clock it is given."""

import pytest

from client_sim.playback import KEPT_TURNS, Playback

RATE = 24000


def tone(ms, value=1000, rate=RATE):
    """A steady sound."""
    return value.to_bytes(2, "little", signed=True) * (rate * ms // 1000)


def test_silence():
    """Nothing was ever played."""
    speaker = Playback()
    assert speaker.playing(5) is None
    assert speaker.queue_ms(5) == 0
    assert speaker.heard_ms("a", 5) == 0
    assert speaker.idle_at_ms() == 0


def test_pieces_follow_each_other():
    """A piece begins when the one before it ends, however early it came."""
    speaker = Playback()
    speaker.add("a", RATE, tone(200), 1_000)
    speaker.add("b", RATE, tone(100), 1_010)
    assert speaker.queue_ms(1_050) == 250
    assert [speaker.playing(at) for at in (1_000, 1_199.9, 1_200, 1_299, 1_300)] == ["a", "a", "b", "b", None]
    assert speaker.idle_at_ms() == 1_300
    assert (speaker.turns["b"].first_piece_ms, speaker.turns["b"].first_sound_ms) == (1_010, 1_200)
    assert speaker.turns["b"].last_sound_ms == 1_300


def test_rates_may_differ():
    """The length of a piece follows from its own rate."""
    speaker = Playback()
    speaker.add("a", 8000, tone(100, rate=8000), 0)
    speaker.add("a", 24000, tone(100), 0)
    assert speaker.queue_ms(0) == 200


def test_heard_so_far():
    """What was played of a turn, with the piece under way."""
    speaker = Playback()
    speaker.add("a", RATE, tone(100), 0)
    speaker.add("a", RATE, tone(100), 0)
    assert [speaker.heard_ms("a", at) for at in (0, 50, 100, 130, 500)] == [0, 50, 100, 130, 200]


def test_dropping_a_turn_stops_it_at_once():
    """The piece under way ends now; the rest is never played; what follows of other turns moves up."""
    speaker = Playback(record=True)
    for value in (1, 2):
        speaker.add("a", RATE, tone(100, value), 0)
    speaker.add("b", RATE, tone(100, 3), 0)
    assert speaker.drop("a", 130) == 70
    assert speaker.playing(130) == "b"
    assert speaker.queue_ms(130) == 100
    assert speaker.turns["b"].first_sound_ms == 130
    assert speaker.idle_at_ms() == 230
    assert speaker.heard_ms("a", 500) == 130
    assert speaker.turns["a"].cut
    assert speaker.recording is not None
    assert bytes(speaker.recording["a"]) == tone(100, 1) + tone(30, 2)
    assert bytes(speaker.recording["b"]) == tone(100, 3)


def test_a_dropped_turn_stays_silent():
    """Pieces that come after the cut are not played."""
    speaker = Playback()
    speaker.add("a", RATE, tone(100), 0)
    speaker.drop("a", 10)
    assert not speaker.add("a", RATE, tone(100), 20)
    assert speaker.playing(25) is None


def test_dropping_a_turn_that_never_came():
    """Barge-in may overtake the speech it cuts."""
    speaker = Playback()
    assert speaker.drop("a", 10) == 0
    assert not speaker.add("a", RATE, tone(100), 20)


def test_dropping_what_waits_leaves_what_plays():
    """Only the named turn is cut."""
    speaker = Playback()
    speaker.add("a", RATE, tone(100), 0)
    speaker.add("b", RATE, tone(100), 0)
    speaker.add("c", RATE, tone(100, value=2000), 0)
    assert speaker.drop("b", 50) == 100
    assert speaker.playing(60) == "a"
    assert speaker.playing(100) == "c"
    assert speaker.turns["c"].first_audible_ms == 100


def test_the_audible_beginning():
    """Leading silence of a turn is no answer yet."""
    speaker = Playback()
    speaker.add("a", RATE, tone(100, 0) + tone(50, 0), 0)
    assert speaker.turns["a"].first_audible_ms is None
    speaker.add("a", RATE, tone(10, 0) + tone(50, -5000), 10)
    assert speaker.turns["a"].first_audible_ms == 160


def test_gaps_are_silence_within_a_turn():
    """A late piece leaves a gap; between turns there is none."""
    speaker = Playback()
    speaker.add("a", RATE, tone(100), 0)
    speaker.add("a", RATE, tone(100), 130)
    speaker.add("b", RATE, tone(100), 900)
    assert (speaker.gaps.count, speaker.gaps.total_ms, speaker.gaps.longest_ms) == (1, 30, 30)
    assert [(gap.turn, gap.at_ms, gap.gap_ms) for gap in speaker.gaps.each] == [("a", 100, 30)]


def test_a_lead_saves_from_gaps():
    """Speech that begins a little later outlasts a late piece."""
    speaker = Playback(lead_ms=60)
    speaker.add("a", RATE, tone(100), 0)
    assert speaker.playing(59) is None
    assert speaker.playing(60) == "a"
    speaker.add("a", RATE, tone(100), 130)
    assert speaker.gaps.count == 0
    assert speaker.turns["a"].first_sound_ms == 60


def test_empty_pieces_are_nothing():
    """Speech that barge-in has emptied."""
    speaker = Playback()
    assert not speaker.add("a", RATE, b"", 0)
    assert speaker.queue_ms(0) == 0


def test_the_queue_is_bounded():
    """A gateway that does not pace itself is refused, not stored."""
    speaker = Playback(max_queue_ms=500)
    taken = [speaker.add("a", RATE, tone(200), 0) for _ in range(5)]
    assert taken == [True, True, True, False, False]
    assert speaker.refused == 2
    assert speaker.queue_ms(0) == 600


def test_figures_of_turns_are_bounded():
    """The oldest are forgotten."""
    speaker = Playback()
    for turn in range(KEPT_TURNS + 5):
        speaker.add(turn, RATE, tone(1), turn * 10)
    assert len(speaker.turns) == KEPT_TURNS
    assert 4 not in speaker.turns


@pytest.mark.parametrize("step_ms", [1, 7, 100, 5_000])
def test_what_is_played_does_not_depend_on_how_often_one_looks(step_ms):
    """Every sample once, in order."""
    speaker = Playback(record=True)
    pieces = [tone(97, value) for value in range(1, 12)]
    now_ms = 0.0
    for piece in pieces:
        speaker.add("a", RATE, piece, now_ms)
        now_ms += step_ms
        speaker.advance(now_ms)
    speaker.advance(now_ms + 5_000)
    assert speaker.recording is not None
    assert bytes(speaker.recording["a"]) == b"".join(pieces)
