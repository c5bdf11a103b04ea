"""``python -m tests.bench.traffic``: what one whole test sends and says, counted in virtual time; figures for `infra.cost`.

The phone's core and the gateway's, over a line of 40 ms each way, with the full plan. The learner of the virtual world answers each
question with a few seconds of speech, so the shares of speech are lower bounds for a talkative one; `infra/cost/figures.yml`
says what is assumed instead.
"""

import json
import sys
from base64 import b64decode

from gateway.core.conversation import ConversationSettings
from gateway.core.conversation.actions import Post
from gateway.core.exam import build_plan
from tests.world.world import World

_LONGEST_S = 900.0


def count(plan: str = "full", seed: int = 1) -> dict[str, float]:
    """Hold one test and return its figures."""
    sent: dict[str, list[int]] = {"up_audio": [], "up_other": [], "down_audio": [], "down_other": []}
    spoken_bytes = 0
    world = World(seed, settings=ConversationSettings(plan=build_plan(plan, seed)))
    carry_up, carry_down = world._carry_up, world.carry_down

    def up(text: str) -> None:
        kind = "up_audio" if json.loads(text)["type"] == "audio" else "up_other"
        sent[kind].append(len(text.encode()))
        carry_up(text)

    def down(action: Post, settled):
        nonlocal spoken_bytes
        document = json.loads(action.data)
        sent["down_audio" if document["type"] == "audio" else "down_other"].append(len(action.data.encode()))
        if document["type"] == "audio":
            spoken_bytes += len(b64decode(document["pcm"]))
        carry_down(action, settled)

    vars(world).update(_carry_up=up, carry_down=down)
    world.run(until_s=_LONGEST_S)
    minutes = world.clock.now_ms / 60_000
    return {
        "minutes": round(minutes, 2),
        "frames_a_minute": round(len(sent["up_audio"]) / minutes, 1),
        "up_bytes": round(sum(sent["up_audio"]) / max(1, len(sent["up_audio"]))),
        "other_up_a_minute": round(len(sent["up_other"]) / minutes, 1),
        "down_a_minute": round((len(sent["down_audio"]) + len(sent["down_other"])) / minutes, 1),
        "down_bytes": round(
            sum(sent["down_audio"] + sent["down_other"]) / (len(sent["down_audio"]) + len(sent["down_other"]))
        ),
        "maya_share": round(spoken_bytes / 48_000 / 60 / minutes, 3),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(count(), indent=2) + "\n")
