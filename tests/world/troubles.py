"""Troubles of one conversation, drawn from a seed: drops, two networks at once, lost streams, relays killed, frozen and deaf, apps killed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from infra.local.nova.faults import KINDS, Effect
from tests.world.chance import Chance
from tests.world.world import World

_WITHIN_MS: Final = 45_000.0
_HARMLESS: Final = frozenset({Effect.BEHAVE, Effect.UNKNOWN_EVENT, Effect.DELAY})
_STREAM_FAULTS: Final = sorted(name for name, kind in KINDS.items() if kind.effect not in _HARMLESS)
_MOST: Final[Mapping[str, int]] = {"drop": 2, "away": 1, "two networks": 1, "stream": 2}
_RELAYS_MOST: Final[Mapping[str, int]] = {"kill": 2, "freeze": 1, "deaf": 1, "app": 1}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that happens.

    Attributes:
        kind: `drop`, `away`, `two networks`, `stream`, `kill`, `freeze`, `deaf` or `app`.
        at_ms: when.
        for_ms: how long it lasts, where it lasts.
        fault: of the stream.
    """

    kind: str
    at_ms: float
    for_ms: float = 0.0
    fault: str = ""


def troubles(seed: int, *, relays: bool) -> list[Trouble]:
    """Draw what happens in a conversation, in order; `relays`: also to relays and to the app."""
    rng = Chance(seed).of("troubles")
    drawn = []
    for kind, most in {**_MOST, **(_RELAYS_MOST if relays else {})}.items():
        for _ in range(rng.randint(0, most)):
            for_ms = rng.uniform(1_000, 15_000) if kind in ("away", "freeze") else 0.0
            fault = rng.choice(_STREAM_FAULTS) if kind == "stream" else ""
            drawn.append(Trouble(kind, rng.uniform(300, _WITHIN_MS), for_ms, fault))
    return sorted(drawn, key=lambda trouble: trouble.at_ms)


def have(world: World, happening: Sequence[Trouble]) -> None:
    """Have troubles happen in a world."""
    for trouble in happening:
        world.clock.at(trouble.at_ms, partial(_happens, world, trouble))


def _happens(world: World, trouble: Trouble) -> None:
    if world.over is not None or world.finished:
        return
    match trouble.kind:
        case "drop":
            world.drop()
        case "away":
            world.go_away(trouble.for_ms)
        case "two networks":
            world.drop()
            world.clock.after(random.Random(trouble.at_ms).uniform(70, 900), world.drop)
        case "stream":
            current = [number for number, session in world.nova.sessions.items() if not session.over]
            if current:
                world.nova.strike(current[-1], trouble.fault)
        case "kill":
            world.relay.kill()
        case "freeze":
            world.relay.freeze(trouble.for_ms)
        case "deaf":
            world.relay.deafen()
        case "app":
            world.restart_app()
