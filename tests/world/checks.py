"""What must hold in any world: heard, played and written down once and in order."""

from tests.world.nova import Session, understand
from tests.world.relay import VirtualRelay
from tests.world.world import World


def said_by_learner(world: World) -> str:
    """What was understood of the learner, without spaces: two utterances may come as one."""
    said = [said.text for said in world.conversation.transcript.utterances if said.who == "learner"]
    return "".join(said).replace(" ", "")


def spoken(world: World) -> str:
    """What the learner spoke, without spaces."""
    return "".join(world.learner.said).replace(" ", "")


def _is_written(heard: str, text: str) -> bool:
    """Whether a turn is written down as it was heard; one that broke off may lack or gain some letters of a word."""
    text, heard = text.replace(" ", ""), heard.replace(" ", "")
    return text == heard or (abs(len(text) - len(heard)) < 16 and (heard.startswith(text) or text.startswith(heard)))


def check_heard(world: World) -> None:
    """Nova Sonic heard exactly what the phone captured, in order and without a gap (I2).

    A stream begins where the one before it ended, or hears again what that one had heard and told nothing of; that
    nothing is understood twice is for `check_transcript`. A relay that follows a lost one begins after the last frame that was written down.
    """
    for relay in world.relays:
        sessions = [relay.nova.sessions[number] for number in sorted(relay.nova.sessions)]
        before: Session | None = None
        for session in (session for session in sessions if session.sent_bytes):
            start = _begin_of(world, session.heard_to) - session.sent_bytes
            heard = bytes(session.heard)[: max(0, _rewritten_from(world, relay) - start)]
            assert heard == world.captured[start : start + len(heard)], f"{world.replay}: heard something else"
            assert session.lost or len(session.heard) == session.sent_bytes, f"{world.replay}: lost on the way"
            _check_start(world, relay, before, start)
            before = session


def _check_start(world: World, relay: VirtualRelay, before: Session | None, start: int) -> None:
    if before is not None:
        end = _begin_of(world, before.heard_to)
        assert start <= end, f"{world.replay}: a stream begins elsewhere"
    else:
        written = -1 if relay.session is None else relay.session.session.seq
        assert start == _begin_of(world, written + 1), f"{world.replay}: a relay begins elsewhere"


def _rewritten_from(world: World, relay: VirtualRelay) -> int:
    """From where what a relay heard was lost with it and the app, which then captured something else in its place."""
    successor = next((later.session for later in world.relays if later.epoch > relay.epoch and later.session), None)
    if successor is None or not world.connections_before:
        return len(world.captured) + 1
    return _begin_of(world, successor.session.seq + 1)


def _begin_of(world: World, seq: int) -> int:
    """Where a frame begins in what was captured."""
    return world.frames_begin.get(seq, len(world.captured))


def check_transcript(world: World) -> None:
    """What the learner said is in it once; what Maya said is in it as the phone played it."""
    assert said_by_learner(world) == spoken(world), f"{world.replay}: other words than the learner's"
    played = world.phone.speaker.recording or {}
    whole = [bytes(pcm) for turn, pcm in played.items() if not world.phone.speaker.turns[turn].cut]
    heard = [words for pcm in whole if (words := understand(pcm, world.out_rate))]
    written = iter([said.text for said in world.conversation.transcript.utterances if said.who == "maya"])
    for words in heard:
        assert any(_is_written(words, text) for text in written), f"{world.replay}: not written: {words}"


def check_played(world: World) -> None:
    """The phone played exactly what Maya said, in order, less what was cut or lost with a stream or a relay (I3)."""
    speaker = world.phone.speaker
    assert speaker.recording is not None
    speaker.advance(world.clock.now_ms + 60_000.0)
    for relay in world.relays:
        position, said = 0, relay.nova.turns()
        played = {turn: pcm for turn, pcm in speaker.recording.items() if turn[0] == relay.epoch}  # type: ignore[index]
        for turn, pcm in played.items():
            cut = speaker.turns[turn].cut or (relay is not world.relay and turn == list(played)[-1])
            while position < len(said) and not _is_turn(bytes(pcm), said[position], cut=cut):
                position += 1
            assert position < len(said), f"{world.replay}: turn {turn} was never said like this"
            position += 1


def _is_turn(played: bytes, said: bytes, *, cut: bool) -> bool:
    return said.startswith(played) if cut else said == played
