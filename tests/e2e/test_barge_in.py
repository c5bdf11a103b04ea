"""The learner speaks over Maya: twice in one conversation, in the middle of her opening and of a later question."""

from typing import Any

import pytest

from gateway.core.messages import Interrupted, Transcript
from infra.local.nova.voices import hear_plain
from tests.e2e.maya import Said
from tests.e2e.talks import Talk, Watched

_NEAR_WORDS = 3
"""The gateway knows to the millisecond how much was heard, and shares it out over the words of a sentence."""


@pytest.fixture
def talk(watched: Watched) -> Talk:
    """The conversation."""
    return watched.talk("over")


def test_the_phone_was_told_of_each_interruption(talk):
    """Two turns were spoken over, each is told of once, and the test goes on to its end."""
    assert [message.turn for message in talk.caller.messages(Interrupted)] == [0, 7]
    assert talk.caller.assessment.status == "complete"


def test_sound_stops_within_a_frame_of_the_signal(talk):
    """Nothing of the turn is played after `interrupted` has arrived."""
    for message, at_ms in talk.caller.shown:
        if isinstance(message, Interrupted):
            heard = heard_of(talk, message)
            assert heard.cut
            assert heard.last_sound_ms <= at_ms + talk.caller.habits.frame_ms


def test_unsent_speech_is_dropped(talk):
    """More was sent than was played; and where Maya was far ahead, she had said more than was ever sent."""
    never_sent_ms = []
    for message in talk.caller.messages(Interrupted):
        heard = heard_of(talk, message)
        whole = said_of(talk, message)
        assert whole.cut
        said_ms = len(whole.pcm) / 2 / talk.caller.habits.out_rate * 1000
        assert 0 < heard.heard_ms < heard.queued_ms <= said_ms
        never_sent_ms.append(said_ms - heard.queued_ms)
    assert max(never_sent_ms) > 0


def test_the_transcript_says_what_was_heard(talk):
    """The final text ends about where the sound did, as a learner with a good ear can tell; so Maya's memory does."""
    histories = [said["text"] for said in talk.streams[-1].document["history"]]
    for message in talk.caller.messages(Interrupted):
        captions = [
            said for said in talk.caller.messages(Transcript) if (said.turn, said.who) == (message.turn, "maya")
        ]
        [final] = [said.text for said in captions if said.final]
        planned = [said.text for said in captions if not said.final][-1].split()
        assert talk.caller.speaker.recording is not None
        sound = talk.caller.speaker.recording[message.epoch, message.turn]
        letters = len(hear_plain(bytes(sound), talk.caller.habits.out_rate).replace(" ", ""))
        heard = [word for place, word in enumerate(planned) if len("".join(planned[: place + 1])) <= letters]
        assert final.split() == planned[: len(final.split())]
        assert abs(len(final.split()) - len(heard)) <= _NEAR_WORDS
        assert len(final.split()) < len(planned)
        assert message.turn or final in histories


def test_what_the_learner_said_over_maya_was_heard(talk):
    """Both interrupting utterances are in the transcript, and each is followed by another turn of Maya's."""
    who = [said.who for said in talk.caller.messages(Transcript) if said.final]
    assert who[:3] == ["maya", "learner", "maya"]
    assert len(talk.caller.captions("learner")) == len(talk.caller.utterances)


def heard_of(talk: Talk, message: Interrupted) -> Any:
    """What the speaker knows of the turn."""
    return talk.caller.speaker.turns[message.epoch, message.turn]


def said_of(talk: Talk, message: Interrupted) -> Said:
    """The turn as Maya's stand-in said it; it and the phone count alike in this conversation."""
    turns = [turn for stream in talk.streams for turn in stream.turns(talk.caller.habits.out_rate)]
    return turns[message.turn]
