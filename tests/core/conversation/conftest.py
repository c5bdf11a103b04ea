"""What tests of a conversation's core share."""

import pytest

from tests.core.conversation.scene import Scene


@pytest.fixture
def lost() -> Scene:
    """A relay that was lost in part 1, after Maya's first question, with a second of the answer taken."""
    scene = Scene().talk()
    scene.wait(1_000, talking=True)
    return scene
