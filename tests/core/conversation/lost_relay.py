"""A relay that is lost in mid-test, and the one that takes its session up."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.conversation.actions import OpenStream, StoreProgress
from gateway.core.conversation.inputs import PhoneSaid, TookOver
from gateway.core.conversation.progress import OpenSession, open_session
from tests.core.conversation.scene import SESSION, Scene

NEXT_EPOCH = 9_000
AWAY_MS = 6_500.0
RESUME = {"type": "resume", "session_id": SESSION}


def written(scene: Scene) -> OpenSession:
    """The session as the lost relay wrote it last."""
    session = open_session(json.loads(json.dumps(scene.of(StoreProgress)[-1].progress)))
    assert session is not None
    return session


def successor(
    lost: Scene, *, away_ms: float = AWAY_MS, document=None, connection: str | None = None, **changes
) -> Scene:
    """A relay that takes up the session of one that was lost."""
    session = written(lost)
    if connection is not None:
        session = replace(session, connection_id=connection)
    scene = Scene(now_ms=lost.now_ms + away_ms, epoch=NEXT_EPOCH, **changes)
    scene._seq = session.seq + 1
    scene.tell(TookOver(session, document))
    return scene


def speak(
    scene: Scene, message: Mapping[str, Any], *, connection: str = "a", opened: int = 1, received: int = 0
) -> None:
    body = json.dumps({"action": "stream", **message}).encode()
    scene.tell(PhoneSaid(connection, opened, received, body))


def pong(scene: Scene, *, received: int, connection: str = "a", opened: int = 1) -> None:
    """The phone answers the relay's ping: from now on it speaks of this relay's numbers."""
    speak(scene, {"type": "pong", "id": NEXT_EPOCH, "at": 0}, connection=connection, opened=opened, received=received)


def prompt_of(scene: Scene) -> str:
    """The system prompt of the newest stream."""
    opening = [json.loads(event)["event"] for event in scene.of(OpenStream)[-1].events]
    return "\n".join(event["textInput"]["content"] for event in opening if "textInput" in event)
