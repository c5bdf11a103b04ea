"""The newcomer's main job: one learner holds a short speaking test with Maya, live in this terminal."""

from collections.abc import Mapping

from infra.local.up import Hurry


async def demo(voice: str, environment: Mapping[str, str], hurry: Hurry) -> int:
    """Hold the conversation."""
    raise NotImplementedError
