"""Maya's way to the phone: numbers, pieces, pacing, barge-in, sending again."""

import base64
import json
from typing import Any

import pytest

from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.inputs import PostOutcome
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.messages import AckDown, Bye, Interrupted, PongDown, Status

RATE = 24_000
MS = RATE * 2 // 1000  # bytes in a millisecond


def sound(ms: float, byte: int = 1) -> str:
    return base64.b64encode(bytes([byte]) * int(ms * MS)).decode()


@pytest.fixture
def link() -> Downlink:
    link = Downlink(ConversationSettings(), epoch=7)
    link.attach("phone-1")
    return link


def posted(link: Downlink, now_ms: float = 0.0) -> dict[str, Any] | None:
    post = link.poll(now_ms)
    return None if post is None else json.loads(post.data)


def drain(link: Downlink, now_ms: float = 0.0) -> list[dict[str, Any]]:
    messages = []
    while (message := posted(link, now_ms)) is not None:
        messages.append(message)
        link.settled(PostOutcome.DELIVERED, 0.0, now_ms)
    return messages


def pcm(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message["pcm"]) for message in messages if message["type"] == "audio")


def test_one_post_at_a_time(link):
    """While a post is under way nothing follows; when it has returned, what waits goes as one piece."""
    link.say(0, sound(80, 1))
    first = posted(link)
    link.say(0, sound(80, 2))
    link.say(0, sound(80, 3))
    assert posted(link) is None
    link.settled(PostOutcome.DELIVERED, 0.0, 10.0)
    second = posted(link, 10.0)
    assert [first["n"], second["n"]] == [0, 1]
    assert len(base64.b64decode(second["pcm"])) == 160 * MS


def test_no_piece_is_longer_than_a_quarter_of_a_second_and_no_byte_is_lost(link):
    """Long and short chunks are cut and joined without decoding them."""
    chunks = [sound(700, 1), sound(90, 2), sound(10, 3), sound(333, 4)]
    for chunk in chunks:
        link.say(0, chunk)
    messages = drain(link)
    assert all(len(base64.b64decode(message["pcm"])) <= 250 * MS for message in messages)
    assert pcm(messages) == b"".join(base64.b64decode(chunk) for chunk in chunks)


@pytest.mark.parametrize("size", [2, 4, 6, 8, 3838, 3840, 12_002])
def test_chunks_of_any_whole_samples_survive(link, size):
    """Padding stands between two chunks that cannot be joined; both arrive."""
    data = [bytes([index]) * size for index in range(1, 6)]
    for chunk in data:
        link.say(0, base64.b64encode(chunk).decode())
    assert pcm(drain(link)) == b"".join(data)


def test_never_more_than_three_seconds_ahead(link):
    """Speech waits when the phone has three seconds of it, by its own word and the clock since."""
    for _ in range(20):
        link.say(0, sound(250))
    assert len(drain(link)) == 12
    assert link.next_timer_ms(0.0) == pytest.approx(250.0)
    assert len(drain(link, 250.0)) == 1
    link.acknowledged(12, 1_000.0, 300.0)
    assert len(drain(link, 300.0)) == 7


def test_what_was_sent_and_not_acknowledged_counts_as_ahead(link):
    """An acknowledgement speaks of an earlier moment: sound on its way is added."""
    for _ in range(8):
        link.say(0, sound(250))
    drain(link)
    link.acknowledged(3, 700.0, 100.0)
    assert link.ahead_ms(100.0) == pytest.approx(700 + 4 * 250)


def test_words_stay_in_order_with_the_sound(link):
    """`listening` is told when the last of the speech has gone, however long that is held back."""
    for _ in range(14):
        link.say(0, sound(250))
    link.tell(Status, state="listening")
    assert [message["type"] for message in drain(link)] == ["audio"] * 12
    assert [message["type"] for message in drain(link, 500.0)] == ["audio", "audio", "status"]


def test_barge_in_drops_the_unsent_and_empties_the_sent(link):
    """`interrupted` goes first; the turn's unacknowledged pieces keep their numbers without their sound."""
    for _ in range(20):
        link.say(4, sound(250))
    sent = drain(link)
    link.interrupt(4)
    [signal] = drain(link, 10.0)
    assert signal == {"type": "interrupted", "n": 12, "epoch": 7, "turn": 4}
    again = drain(link, 2_500.0)
    assert [message["n"] for message in again] == list(range(13))
    assert all(message["pcm"] == "" for message in again[:12])
    assert len(sent) == 12


def test_the_next_turn_is_not_cut(link):
    """Only the turn that was spoken over is dropped."""
    link.say(1, sound(100, 1))
    link.say(2, sound(100, 2))
    link.interrupt(1)
    assert pcm(drain(link)) == base64.b64decode(sound(100, 2))


def test_unacknowledged_is_sent_again_after_two_seconds(link):
    """On a live connection the oldest unacknowledged item decides."""
    link.tell(Status, state="thinking")
    [first] = drain(link, 0.0)
    assert drain(link, 1_999.0) == []
    assert drain(link, 2_000.0) == [first]
    link.acknowledged(0, 0.0, 2_100.0)
    assert drain(link, 9_000.0) == []
    assert link.idle


def test_resume_sends_what_the_phone_lacks_and_nothing_else(link):
    """After a drop, everything above the last received number comes again, in order, by the new connection."""
    for state in ("thinking", "speaking", "listening"):
        link.tell(Status, state=state)
    drain(link)
    link.detach()
    link.tell(Status, state="assessing")
    assert link.poll(10.0) is None
    link.attach("phone-2")
    link.resume(0)
    post = link.poll(20.0)
    assert post.connection_id == "phone-2"
    link.settled(PostOutcome.DELIVERED, 0.0, 20.0)
    assert [json.loads(post.data)["n"], *(message["n"] for message in drain(link, 20.0))] == [1, 2, 3]


def test_messages_without_a_number_are_lost_with_their_connection(link):
    """A pong for a connection that is gone helps nobody."""
    link.mention(PongDown(epoch=7, id=1, at=2.0))
    link.detach()
    link.attach("phone-2")
    assert drain(link) == []
    link.detach()
    link.mention(PongDown(epoch=7, id=1, at=2.0))
    link.attach("phone-3")
    assert drain(link) == []


def test_a_slow_phone_is_left_alone_for_as_long_as_it_asks(link):
    """429 and 5xx wait; nothing is lost by them."""
    link.tell(Status, state="thinking")
    assert posted(link) is not None
    link.settled(PostOutcome.SLOW, 800.0, 0.0)
    link.tell(Status, state="listening")
    assert drain(link, 799.0) == []
    assert link.next_timer_ms(0.0) == 800.0
    assert [message["state"] for message in drain(link, 800.0)] == ["thinking", "listening"]


def test_a_busy_line_waits_longer_each_time(link):
    """Up to four seconds, until a post is taken; the order stays."""
    link.tell(Status, state="thinking")
    link.tell(Status, state="listening")
    now_ms, waits = 0.0, []
    for _ in range(7):
        assert posted(link, now_ms)["n"] == 0
        link.settled(PostOutcome.SLOW, 0.0, now_ms)
        waits.append(link.next_timer_ms(now_ms) - now_ms)
        now_ms = link.next_timer_ms(now_ms)
    assert waits == [250, 500, 1_000, 2_000, 4_000, 4_000, 4_000]
    assert [message["n"] for message in drain(link, now_ms)] == [0, 1]
    link.tell(Status, state="thinking")
    assert posted(link, now_ms)
    link.settled(PostOutcome.SLOW, 0.0, now_ms)
    assert link.next_timer_ms(now_ms) == now_ms + 250


def test_what_is_never_taken_leaves_its_number(link):
    """A phone that waited for it would wait for ever; it gets an empty piece of no turn, and what follows comes."""
    link.tell(Status, state="thinking")
    link.say(3, sound(100))
    assert posted(link)["type"] == "status"
    link.settled(PostOutcome.REFUSED, 0.0, 0.0)
    empty, speech = drain(link, 250.0)
    assert (empty["n"], empty["type"], empty["pcm"]) == (0, "audio", "")
    assert (speech["n"], speech["turn"]) == (1, 3)
    assert empty["turn"] not in range(1_000_000)


def test_speech_that_is_never_taken_is_cut(link):
    """Its own turn is told, so that no sound follows the hole."""
    link.say(3, sound(100))
    assert posted(link)["turn"] == 3
    link.settled(PostOutcome.REFUSED, 0.0, 0.0)
    assert [(message["turn"], message["pcm"]) for message in drain(link, 250.0)] == [(3, "")]


@pytest.mark.parametrize("outcome", [PostOutcome.SLOW, PostOutcome.REFUSED])
def test_what_has_no_number_is_lost_with_its_post(link, outcome):
    """It belongs to a moment: acknowledgements come again anyway."""
    link.mention(AckDown(epoch=7, seq=3))
    assert posted(link)["type"] == "ack"
    link.settled(outcome, 0.0, 0.0)
    assert drain(link, 10_000.0) == []


def test_unsent_speech_is_bounded(link):
    """Two minutes of one turn that nobody fetches are the most that waits; words are never shed."""
    link.detach()
    link.tell(Status, state="speaking")
    for _ in range(500):
        link.say(1, sound(250))
    assert link.unplayed_ms(0.0) <= 120_000.0
    link.attach("phone-2")
    assert drain(link)[0]["type"] == "status"


def test_nothing_waits_when_everything_was_sent(link):
    """Durations that floating point cannot hold add up to nothing in the end, also where a notice still waits behind."""
    chunks = [base64.b64encode(bytes(2 * samples)).decode() for samples in (1024, 800, 1000, 640) * 5]
    link.send_pieces_of(60)
    for chunk in chunks:
        link.say(1, chunk)
    link.tell(Status, state="listening")
    messages, now_ms = [], 0.0
    while not link.idle and now_ms < 10_000.0:
        messages += drain(link, now_ms)
        link.acknowledged(messages[-1]["n"], 0.0, now_ms)
        now_ms += 100.0
    assert messages[-1]["type"] == "status"
    assert pcm(messages) == b"".join(base64.b64decode(chunk) for chunk in chunks)
    assert link.unplayed_ms(now_ms) == 0.0


def test_an_app_that_was_killed_begins_where_ready_says(link):
    """What was sent before is not sent again to an app that cannot place it."""
    link.tell(Status, state="thinking")
    drain(link)
    link.forget()
    assert drain(link, 5_000.0) == []
    assert link.next_number == 1


def test_an_older_acknowledgement_is_ignored(link):
    """It tells of a queue that has long been played."""
    for _ in range(12):
        link.say(0, sound(250))
    drain(link)
    link.acknowledged(5, 2_000.0, 500.0)
    ahead_ms = link.ahead_ms(500.0)
    link.acknowledged(4, 0.0, 500.0)
    assert link.ahead_ms(500.0) == ahead_ms


def test_an_acknowledgement_of_what_was_never_sent_is_ignored(link):
    """It says nothing about what was."""
    for _ in range(12):
        link.say(0, sound(250))
    drain(link)
    link.acknowledged(4_000, 0.0, 0.0)
    assert link.ahead_ms(0.0) == 3_000.0
    assert not link.idle


def test_what_is_urgent_goes_before_what_is_sent_again(link):
    """`ready` and `interrupted` wait for nothing."""
    for state in ("thinking", "speaking"):
        link.tell(Status, state=state)
    drain(link)
    link.attach("phone-2")
    link.resume(-1)
    link.tell_now(Interrupted, turn=3)
    assert [message["n"] for message in drain(link)] == [2, 0, 1]


def test_messages_with_and_without_number_take_turns(link):
    """On a line on which each post takes longer than acknowledgements come, Maya is still heard."""
    kinds = []
    for number in range(10):
        link.mention(PongDown(epoch=7, id=number, at=0.0))
        link.say(1, sound(250))
        kinds.append(posted(link)["type"])
        link.settled(PostOutcome.DELIVERED, 0.0, 0.0)
    assert kinds == ["audio", "pong"] * 5


def test_what_has_a_number_comes_first_on_a_connection(link):
    """So `ready` is the first that an app reads there, whatever else is due at that moment."""
    link.mention(PongDown(epoch=7, id=1, at=0.0))
    link.tell_now(Status, state="listening")
    posted(link)
    link.settled(PostOutcome.DELIVERED, 0.0, 0.0)
    link.attach("phone-2")
    link.mention(PongDown(epoch=7, id=2, at=0.0))
    link.tell_now(Interrupted, turn=3)
    assert [message["type"] for message in drain(link)][:2] == ["interrupted", "pong"]


def test_an_acknowledgement_takes_the_place_of_the_one_before(link):
    """Only the last word counts, so no more than one waits."""
    link.tell(Status, state="thinking")
    posted(link)
    for seq in range(5):
        link.mention(AckDown(epoch=7, seq=seq))
    link.settled(PostOutcome.DELIVERED, 0.0, 0.0)
    assert [message.get("seq") for message in drain(link)] == [4]


def test_nothing_follows_a_farewell(link):
    """Neither what waits nor what is to be sent again, and no timer rings for it; on another connection all goes on."""
    link.tell(Status, state="thinking")
    drain(link)
    link.say(1, sound(500))
    link.tell_now(Status, state="listening")
    link.say_farewell(Bye(epoch=7, reason="finished"))
    link.mention(PongDown(epoch=7, id=1, at=0.0))
    assert [message["type"] for message in drain(link)] == ["bye"]
    assert drain(link, 5_000.0) == []
    assert link.next_timer_ms(5_000.0) is None
    link.attach("phone-2")
    link.resume(-1)
    assert [message["type"] for message in drain(link, 5_000.0)] == ["status", "status", "audio", "audio"]


def test_what_belongs_to_a_connection_is_not_told_on_the_next(link):
    """Also where the old one was never said to be gone."""
    link.mention(PongDown(epoch=7, id=1, at=2.0))
    link.attach("phone-2")
    assert drain(link) == []


def test_a_runaway_turn_is_cut_and_the_next_is_whole(link):
    """The oldest turn that waits is the one that is cut."""
    link.detach()
    for _ in range(400):
        link.say(1, sound(250))
    link.say(2, sound(30_000, 2))
    assert link.unplayed_ms(0.0) <= 120_000.0
    link.attach("phone-2")
    assert {message["turn"] for message in drain(link)} == {2}
