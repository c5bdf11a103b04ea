"""A relay's streams: opened, sent to, heard and followed, however they fail."""

import asyncio
import base64

import pytest

from gateway import nova_line
from gateway.core.conversation import ConversationSettings, State
from gateway.core.conversation.actions import SendEvents
from gateway.core.errors import StreamLost
from tests.relay_stage import START, holding


@pytest.mark.parametrize("error", [StreamLost("stream_lost: away"), KeyError("an exception type nobody knows")])
async def test_a_stream_that_does_not_open_is_tried_again(error):
    """Whatever the SDK raises."""
    async with holding() as held:
        held.world.errors["open_stream"] = error
        held.say(START)
        await held.world.until(lambda: held.world.of("open_stream"))
        del held.world.errors["open_stream"]
        await held.world.until(lambda: held.world.posts("ready"))
        assert len(held.world.of("open_stream")) == 2
        held.relay.deaf()


@pytest.mark.parametrize("error", [None, StreamLost("stream_lost: away"), RuntimeError("quotes")])
async def test_a_stream_that_ends_is_followed_by_another(error):
    """In good order or not; it is closed, and its successor hears what comes."""
    async with holding() as held:
        stream = await held.talk()
        stream.ends(error)
        await held.world.until(lambda: len(held.world.streams) == 2)
        await stream.closed.wait()
        held.audio()
        await asyncio.sleep(0)
        assert held.relay.conversation.state is State.TALKING
        held.relay.deaf()


@pytest.mark.parametrize("error", [StreamLost("stream_lost: away"), RuntimeError("quotes")])
async def test_a_stream_that_cannot_be_sent_to_is_followed_by_another(error):
    """The next event that waits for room finds it out."""
    async with holding() as held:
        stream = await held.talk()
        stream.crowded, stream.send_error = True, error
        held.audio()
        await held.world.until(lambda: len(held.world.streams) == 2)
        held.relay.deaf()


async def test_of_a_broken_stream_the_receiver_tells():
    """It knows why; what could not be sent is heard by the next stream."""
    async with holding() as held:
        stream = await held.talk()
        stream.send_error = StreamLost("stream_lost: away")
        held.audio(2)
        assert len(held.world.streams) == 1
        stream.ends(StreamLost("stream_lost: reset"))
        await held.world.until(lambda: len(held.world.streams) == 2)
        successor = held.world.streams[1]
        await held.world.until(lambda: sum(b"audioInput" in event for event in successor.sent) == 2)
        held.relay.deaf()


async def test_events_keep_their_order_when_the_stream_is_crowded_for_a_while():
    """What waits goes before what could be sent at once."""
    async with holding() as held:
        stream = await held.talk()
        line, before = held.relay._lines[1], len(stream.sent)
        stream.crowded = True
        line.send((b"1", b"2"))
        stream.crowded = False
        line.send((b"3",))
        await held.world.until(lambda: len(stream.sent) == before + 3)
        line.send((b"4",))
        assert stream.sent[before:] == [b"1", b"2", b"3", b"4"]
        held.relay.deaf()


async def test_a_stream_that_takes_no_more_is_given_up(monkeypatch):
    """Its queue is full: it is lost once, closed, and followed; nothing waits without bound."""
    monkeypatch.setattr(nova_line, "_UNSENT_EVENTS", 64)
    async with holding(replay_ms=1_000.0) as held:
        stream = await held.talk()
        stream.blocked = True
        held.audio(100)
        await held.world.until(lambda: len(held.world.streams) == 2)
        await stream.closed.wait()
        lost = [fields for event, fields in held.world.of("record") if event == "stream_lost"]
        assert len(lost) == 1
        held.relay.deaf()


async def test_a_full_stream_can_be_closed(monkeypatch):
    """There is no room for the word that ends it."""
    monkeypatch.setattr(nova_line, "_UNSENT_EVENTS", 64)
    async with holding() as held:
        stream = await held.talk()
        stream.blocked = True
        await asyncio.sleep(0)
        line = held.relay._lines[1]
        while not line._outgoing.full():
            held.relay._doers[SendEvents](SendEvents(1, (b"{}",)))
            await asyncio.sleep(0)
        held.relay.deaf()


async def test_a_stream_that_is_closed_while_it_opens_leaves_nothing():
    """The test is stopped before Maya's line is open."""
    async with holding() as held:
        held.world.gates["open_stream"] = asyncio.Event()
        held.say(START)
        await held.world.until(lambda: held.world.of("open_stream"))
        held.stop()
        held.world.gates["open_stream"].set()
    assert not held.world.posts("ready")


async def test_what_a_stream_says_is_heard():
    """Events reach the core in their order; what cannot be read is passed over."""
    async with holding() as held:
        stream = await held.talk()
        stream._events.put_nowait(b"{")
        stream.says(textOutput={"contentId": "m", "content": "Hello.", "role": "ASSISTANT"})
        await held.world.until(lambda: len(held.world.posts("transcript")) == 2)
        held.relay.deaf()


async def test_what_a_stream_said_before_it_broke_is_heard():
    """Though both came at once: the last words first, then that it has ended."""
    async with holding() as held:
        stream = await held.talk()
        stream.says(textOutput={"contentId": "m", "content": "Hello.", "role": "ASSISTANT"})
        stream.ends(StreamLost("reset"))
        await held.world.until(lambda: len(held.world.streams) == 2)
        assert len(held.world.posts("transcript")) == 2
        held.relay.deaf()


async def test_a_long_utterance_is_played_to_a_successor_whole():
    """Two and a half minutes in the shortest frames, at once: as much as is ever kept."""
    assert ConversationSettings().replay_ms / 20.0 < nova_line._UNSENT_EVENTS - 64
    async with holding() as held:
        stream = await held.talk()
        short = base64.b64encode(bytes(640)).decode()
        for seq in range(held.seq, held.seq + 700):
            held.say({"type": "audio", "seq": seq, "t": seq * 20, "pcm": short})
        stream.ends()
        await held.world.until(lambda: len(held.world.streams) == 2)
        successor = held.world.streams[1]
        await held.world.until(lambda: len(successor.sent) >= 700)
        held.relay.deaf()
