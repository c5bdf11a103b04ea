"""Where tests of the session engine begin: the service's timing without chance, and Maya in the middle of an answer."""

import dataclasses
from typing import Any

from infra.local.nova.interfaces import Reply, ToolSpec
from infra.local.nova.settings import SERVICE_TIMING, Settings
from tests.local.nova.fakes import FRAME_MS, SILENCE, World, with_settings

MARKER = '{ "interrupted" : true }'
COUNT = ToolSpec("count", "counts", {"type": "object"})
STEADY = dataclasses.replace(SERVICE_TIMING, speed_min=2.5, speed_max=2.5, gap_probability=0)
SERVICE = Settings(timing=STEADY)


def talking(**behaviour: Any) -> World:
    """A world in which Maya has begun a long answer."""
    world = World(settings=with_settings(timing=STEADY, **behaviour))
    world.talent.replies.append(Reply((" ".join(f"word{n}" for n in range(30)), "Last.")))
    world.utter("hello")
    world.hear(SILENCE, 14)
    assert world.said()
    world.advance(FRAME_MS)
    world.log.clear()
    return world
