"""Conversations under which processes are killed and frozen: Redis, relays, Nova Sonic's stand-in; and a phone cut off in mid-frame.

What a learner said, what Maya said and the written assessment come through (I2, I3, I4), and no more relays are started than are
needed.
"""

import pytest

from gateway.core.messages import AssessmentMessage
from tests.e2e.kills import FROZEN, KILLED, LEFT, RELAYS, WHOLE
from tests.e2e.relays import Relays
from tests.e2e.stored import check_stored
from tests.e2e.talks import Talk, Watched
from tests.faults.account import played_of, spoken_by
from tests.faults.sound import Count, count_heard, count_played, due_of


@pytest.fixture(params=WHOLE)
def talk(request: pytest.FixtureRequest, shaken: Watched) -> Talk:
    """A conversation that goes on to its end."""
    return shaken.talk(request.param)


def test_maya_heard_what_the_phone_captured(talk):
    """Once and in order; only an utterance without a final transcript is heard again by the next stream (I2)."""
    assert count_heard(spoken_by(talk.caller, to_its_end=True), talk.streams) == Count()


def test_the_phone_played_what_maya_said(talk):
    """Once and in order, less what was lost with a stream or a relay (I3)."""
    rate = talk.caller.habits.out_rate
    assert count_played(played_of(talk.caller), due_of(talk.streams, rate), rate) == Count()


def test_the_assessment_is_saved(shaken, talk):
    """It is the one that the phone was shown, by the relay that was the last (I4)."""
    assert talk.caller.over is not None
    assert talk.caller.over.bye == "finished"
    saved = check_stored(shaken.cloud, talk.caller)
    assert saved == talk.caller.assessment
    assert talk.caller.messages(AssessmentMessage)[-1].saved
    assert saved.epoch == max(message.epoch for message, _ in talk.caller.shown)


def test_what_was_finished_is_saved_though_nobody_comes_back(shaken):
    """The part that was over when the relay died (I4)."""
    saved = check_stored(shaken.cloud, shaken.talk(LEFT).caller)
    assert saved.status == "partial"
    assert [part.part for part in saved.parts] == [1]


def test_no_more_relays_were_started_than_were_needed(shaken):
    """One for each conversation and for each relay that was lost; a restart of Redis starts none.

    One that is long in coming, on a slow machine, may have a second one started after it, which goes at once.
    """
    turned_away = shaken.cloud.log("functions/maya-relay").count('"lease_taken"')
    assert Relays(shaken.cloud).started - turned_away == RELAYS
    assert turned_away < RELAYS


@pytest.mark.parametrize("name", [*KILLED, *FROZEN])
def test_the_other_relay_has_a_higher_epoch(shaken, name):
    """The phone met two."""
    caller = shaken.talk(name).caller
    assert caller.phone.figures.epochs == 2
    epochs = [message.epoch for message, _ in caller.shown]
    assert epochs == sorted(epochs)


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_relay_that_wakes_is_never_heard(shaken, name):
    """Nothing of the old epoch sounds after the new one's first sound."""
    caller = shaken.talk(name).caller
    spoken = caller.speaker.turns.items()
    turns = [(turn, heard) for turn, heard in spoken if isinstance(turn, tuple) and heard.first_sound_ms is not None]
    (old, new) = sorted({epoch for (epoch, _), _ in turns})
    taken_over_ms = min(heard.first_sound_ms for (epoch, _), heard in turns if epoch == new)
    assert all(heard.last_sound_ms <= taken_over_ms for (epoch, _), heard in turns if epoch == old and heard.heard_ms)


def test_the_phone_that_was_cut_off_came_back(shaken):
    """As often as it was cut off."""
    assert shaken.talk("cut off").caller.phone.figures.reconnects == 3


def test_the_dead_were_really_killed(shaken):
    """The steady conversation's streams tell: one was killed with the stand-in."""
    endings = [stream.document["ending"] for stream in shaken.talk("steady").streams]
    assert "killed" in endings
    assert len(shaken.cloud.log("valkey").split("Ready to accept connections")) == 3
