"""Messages that nearly are of maya.v1, and others that are nothing at all; a `random.Random` decides everything."""

import json
import random
from collections.abc import Callable
from typing import Any, Final

from gateway.core import examples
from gateway.core.messages import UP_MESSAGES
from gateway.core.wire import encode

_GOOD: Final[tuple[dict[str, Any], ...]] = tuple(json.loads(encode(examples.of(cls))) for cls in UP_MESSAGES)
_TYPES: Final = tuple(message["type"] for message in _GOOD)
_CHARS: Final = 'az09{}[]":,.\\/+-=_ \x00\x1f\x7f\n\u00e9\u2028\ufeff\U0001f600'
_STRANGE: Final[tuple[Any, ...]] = (
    *(None, True, False, "", "A", "AAAA", "AA==", "=", "\x00", "\ud800", "1", "NaN", [], {}, [[]], {"": {}}),
    *(0, -1, 1, 2**31, 2**53 - 1, 2**53, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e308, -1e-308, 1e999),
    *("start", "audio", "9" * 400, "x" * 5_000, ["start"], {"type": "start"}),
)


def message(rng: random.Random) -> str:
    """Return one text; most are JSON, some are even right."""
    return rng.choice(_MAKERS)(rng)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Return any JSON value, with numbers that no type holds and texts that are no Unicode."""
    kind = rng.randint(0, 5 if depth < 4 else 2)
    if kind <= 2:
        return rng.choice(_STRANGE)
    if kind == 3:
        return "".join(rng.choice(_CHARS) for _ in range(rng.randint(0, 12)))
    if kind == 4:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    return {str(rng.choice(_STRANGE)): value(rng, depth + 1) for _ in range(rng.randint(0, 4))}


def _good(rng: random.Random) -> dict[str, Any]:
    return dict(rng.choice(_GOOD))


def _mutated(rng: random.Random) -> str:
    """Return a message with fields changed, left out, added or misnamed."""
    document = _good(rng)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(list(document) or ["type"])
        match rng.randint(0, 3):
            case 0:
                document.pop(name, None)
            case 1:
                document[name] = value(rng)
            case 2:
                document[str(rng.choice(_STRANGE))] = value(rng)
            case _:
                document[name.upper()] = document.pop(name, None)
    return _json(document)


def _swapped(rng: random.Random) -> str:
    """Return the fields of one message under the type of another."""
    return _json({**_good(rng), "type": rng.choice(_TYPES)})


def _numbers(rng: random.Random) -> str:
    """Return a message of right form with numbers from the edges."""
    document = _good(rng)
    for name, field in document.items():
        if isinstance(field, (int, float)):
            document[name] = rng.choice((0, 1, -1, 2**53 - 1, 2**53, 0.5, 1e300, -(2**40)))
    return _json(document)


def _broken(rng: random.Random) -> str:
    """Return a message cut off, doubled, or with a character in the wrong place."""
    text = _json(_good(rng))
    place = rng.randint(0, len(text))
    match rng.randint(0, 2):
        case 0:
            return text[:place]
        case 1:
            return text + text[place:]
        case _:
            return text[:place] + rng.choice(_CHARS) + text[place + 1 :]


def _noise(rng: random.Random) -> str:
    """Return characters without sense."""
    return "".join(rng.choice(_CHARS) for _ in range(rng.randint(0, 60)))


def _deep(rng: random.Random) -> str:
    """Return brackets within brackets."""
    depth = rng.choice((2, 200, 1_000, 12_000))
    opened, closed = rng.choice((("[", "]"), ('{"type":', "}"), ('{"action":"stream","type":"audio","pcm":[', "]}")))
    return opened * depth + closed * rng.choice((0, depth))


def _doubled(rng: random.Random) -> str:
    """Return an object that names a key twice."""
    first, second = _json(_good(rng)), _json(_good(rng))
    return f"{first[:-1]},{second[1:]}"


def _any(rng: random.Random) -> str:
    return _json(value(rng))


def _right(rng: random.Random) -> str:
    return _json(_good(rng))


def _json(document: Any) -> str:
    return json.dumps(document)


_MAKERS: Final[tuple[Callable[[random.Random], str], ...]] = (
    *(_mutated, _mutated, _mutated, _swapped, _numbers, _numbers),
    *(_broken, _noise, _deep, _doubled, _any, _right),
)
