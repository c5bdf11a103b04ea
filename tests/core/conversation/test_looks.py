"""A talk that flows is looked at five times a second instead of after each message: nobody hears or reads anything else for it."""

import itertools
from dataclasses import dataclass
from typing import Final

import pytest

from gateway.core.conversation import Conversation, State, core
from gateway.core.messages import AudioDown
from tests.world.network import STEADY
from tests.world.world import World

POST_MS: Final = 8.0


@dataclass(frozen=True)
class Outcome:
    """What there was of a conversation, and when.

    Attributes:
        captured: by the phone.
        heard: by each stream of Nova Sonic's.
        played: each turn of Maya's, as it came out of the speaker.
        transcript: who said what.
        saved: the assessment's text.
        shown: each kind of message but audio, by name, as often as it came.
    """

    captured: bytes
    heard: list[bytes]
    played: list[bytes]
    transcript: list[tuple[str, str]]
    saved: str
    shown: list[str]


def outcome(seed: int) -> Outcome:
    """Hold a conversation; what learner and Nova Sonic draw does not depend on how many messages there are."""
    world = World(seed, line=STEADY, barge_in=0.3, post_ms=(POST_MS, POST_MS))
    world.start()
    assert world.go_on(until_s=300, done=lambda: world.finished and world.assessment is not None), world.replay
    shown: list[str] = sorted(message.type for message in world.shown if not isinstance(message, AudioDown))
    return Outcome(
        bytes(world.captured),
        [bytes(session.heard) for _, session in sorted(world.nova.sessions.items())],
        [bytes(pcm) for _, pcm in sorted((world.phone.speaker.recording or {}).items())],
        [(said.who, said.text) for said in world.conversation.transcript.utterances],
        world.saves[0].model_dump_json(exclude={"finished_at", "started_at"}),
        shown,
    )


@pytest.mark.parametrize("seed", range(8))
def test_what_is_heard_and_written_is_the_same_as_with_a_look_after_each_message(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """To the last byte, to the last word; only where the lag is told between Maya's words may differ."""
    flowing = outcome(seed)
    monkeypatch.setattr(core, "_LOOK_EVERY_MS", 0.0)
    assert flowing == outcome(seed)


def test_looks_are_no_farther_apart_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 ms, and until the next frame of 100 ms."""
    looks: list[float] = []
    tick = Conversation.tick

    def noting(conversation: Conversation, now_ms: float) -> None:
        if conversation.state is State.TALKING:
            looks.append(now_ms)
        tick(conversation, now_ms)

    monkeypatch.setattr(Conversation, "tick", noting)
    outcome(0)
    gaps_ms = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert 200.0 <= max(gaps_ms) <= 300.0
