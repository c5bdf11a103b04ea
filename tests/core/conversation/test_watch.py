"""Whether a stream that is open also lives: what the service owes, for how long, and what the gateway's own ear tells."""

import base64
import random
import struct

import pytest

from gateway.core.conversation.ear import Ear, mean_square
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.uplink import Frame
from gateway.core.conversation.watch import WATCH_TABLE, Owed, Sign, Verdict, Watch

SETTINGS = ConversationSettings()


def pcm(*samples: int) -> str:
    return base64.b64encode(struct.pack(f"<{len(samples)}h", *samples)).decode()


def noise(level: int, seed: int = 1) -> Frame:
    rng = random.Random(seed)
    return Frame(pcm(*(rng.randint(-level, level) for _ in range(1_600))), 100.0)


LOUD, QUIET = noise(8_000), noise(20)


@pytest.fixture
def watch() -> Watch:
    watch = Watch(SETTINGS)
    watch.begin(0.0)
    return watch


def verdicts(watch: Watch, from_ms: float, to_ms: float, frame: Frame | None = None) -> dict[float, Verdict]:
    """What is thought, and when, looking each 100 ms."""
    found = {}
    now_ms = from_ms
    while now_ms < to_ms:
        now_ms += 100.0
        if frame is not None:
            watch.hear(frame, now_ms)
        verdict = watch.look(now_ms)
        if verdict is not None:
            found[now_ms] = verdict
    return found


@pytest.mark.parametrize("owed", Owed)
def test_every_state_has_every_sign(owed):
    """Nothing that happens on a stream is unforeseen."""
    assert WATCH_TABLE[owed].keys() == set(Sign)


@pytest.mark.parametrize(
    ("signs", "after_s", "verdict"),
    [
        ([Sign.ASKED], SETTINGS.first_answer_within_s, Verdict.DEAD),
        ([Sign.SPOKE, Sign.DONE, Sign.ASKED], SETTINGS.answer_within_s, Verdict.DEAD),
        ([Sign.SPOKE, Sign.DONE, Sign.STARTED, Sign.ENDED], SETTINGS.answer_within_s, Verdict.ASK),
        ([Sign.SPOKE, Sign.DONE, Sign.STARTED, Sign.ENDED, Sign.WORDS], SETTINGS.answer_within_s, Verdict.DEAD),
        ([Sign.SPOKE], SETTINGS.turn_gap_s, Verdict.DEAD),
        ([Sign.STARTED, Sign.ASKED], SETTINGS.answer_over_speech_within_s, Verdict.DEAD),
        ([Sign.STARTED], SETTINGS.longest_speech_s, Verdict.SUSPECT),
    ],
    ids=["first answer", "direction", "speech", "words", "rest of a turn", "direction over speech", "endless speech"],
)
def test_what_is_owed_has_its_time(watch, signs, after_s, verdict):
    """Not a moment before."""
    for sign in signs:
        watch.note(sign, 0.0)
    found = verdicts(watch, 0.0, 1_000 * after_s + 200)
    assert next(iter(found.items())) == (1_000 * after_s, verdict)
    assert watch.next_timer_ms() is not None


@pytest.mark.parametrize(
    "signs",
    [
        [],
        [Sign.SPOKE, Sign.DONE],
        [Sign.STARTED, Sign.LISTENED],
        [Sign.SPOKE, Sign.LISTENED, Sign.DONE],
        [Sign.ASKED, Sign.SPOKE, Sign.DONE],
    ],
)
def test_a_stream_that_owes_nothing_may_be_silent_for_ever(watch, signs):
    """A silent learner, minutes of preparation: nothing is said, and no timer rings."""
    for sign in signs:
        watch.note(sign, 0.0)
    assert verdicts(watch, 0.0, 400_000, QUIET) == {}
    assert watch.next_timer_ms() is None


def test_a_piece_of_speech_renews_the_time_of_the_rest(watch):
    """As long as Maya speaks she may go on."""
    for now_ms in range(0, 60_000, 4_000):
        watch.note(Sign.SPOKE, float(now_ms))
        assert watch.look(now_ms + 3_900.0) is None


def test_speech_that_is_not_told_of_raises_suspicion(watch):
    """Once, after the pause that ends a turn and a little more; a shorter sound may be a cough."""
    assert verdicts(watch, 0.0, 500, LOUD) == {}
    assert verdicts(watch, 500, 20_000, QUIET) == {}
    watch.note(Sign.LISTENED, 20_000)
    assert verdicts(watch, 20_000, 22_000, LOUD) == {}
    expected_ms = 22_000 + SETTINGS.pause_ms + 1_000 * SETTINGS.tell_within_s
    assert verdicts(watch, 22_000, 60_000, QUIET) == {expected_ms: Verdict.SUSPECT}


def test_speech_whose_end_is_not_told_raises_suspicion(watch):
    """However short it was: the service called it speech."""
    watch.note(Sign.STARTED, 0.0)
    verdicts(watch, 0.0, 200, LOUD)
    assert list(verdicts(watch, 200, 10_000, QUIET).values()) == [Verdict.SUSPECT]


def test_a_word_of_the_service_ends_suspicion(watch):
    """It heard the end of the speech in time."""
    watch.note(Sign.STARTED, 0.0)
    verdicts(watch, 0.0, 3_000, LOUD)
    assert verdicts(watch, 3_000, 7_000, QUIET) == {}
    watch.note(Sign.ENDED, 7_000)
    watch.note(Sign.SPOKE, 8_000)
    watch.note(Sign.DONE, 9_000)
    assert verdicts(watch, 9_000, 60_000, QUIET) == {}


def test_what_maya_says_is_not_taken_for_the_learner(watch):
    """Her own speech out of the loudspeaker is no reason to doubt."""
    watch.learner_has_floor = lambda now_ms: now_ms > 20_000
    assert verdicts(watch, 0.0, 15_000, LOUD) == {}
    assert verdicts(watch, 15_000, 60_000, QUIET) == {}


def test_a_room_that_grows_loud_becomes_the_new_silence():
    """A steady noise is loud for a while and then the floor above which speech has to stand."""
    ear = Ear()
    for number in range(30):
        ear.hear(noise(20, number).pcm, 100.0)
    for number in range(1_500):
        ear.hear(noise(1_000, number).pcm, 100.0)
    ear.forget()
    ear.hear(noise(1_000, 7).pcm, 100.0)
    assert ear.loud_ms == 0.0
    ear.hear(LOUD.pcm, 100.0)
    assert ear.loud_ms == 100.0


def test_time_in_which_nobody_looked_is_nobodys_fault(watch):
    """A relay that was frozen finds what was said to it only afterwards."""
    watch.note(Sign.SPOKE, 0.0)
    assert watch.look(1_000.0) is None
    assert watch.look(61_000.0) is None
    assert watch.look(62_000.0) is None
    found = verdicts(watch, 62_000.0, 70_000.0)
    assert next(iter(found)) == 65_000.0


def test_the_mean_square_is_that_of_the_sound():
    """From a part of the samples; of nothing it is nothing."""
    assert mean_square(pcm(*[300, -300] * 800)) == 90_000.0
    assert mean_square(pcm(*[0] * 100)) == 0.0
    assert mean_square("") == 0.0
