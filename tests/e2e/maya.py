"""What Maya's stand-in heard and said, and whether the phone captured and played the same."""

import asyncio
import base64
import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from infra.local.nova.voices import speak_plain
from tests.e2e.callers import Caller
from tests.e2e.clouds import Cloud, eventually

_ENOUGH_BYTES = 640
"""So much of a caller's noise tells it from all others."""


@dataclass(frozen=True)
class Said:
    """One turn of Maya's as the stand-in sent it, to its end or to where it was cut."""

    pcm: bytes
    cut: bool


@dataclass(frozen=True)
class HeldStream:
    """One stream as the stand-in knows it.

    Attributes:
        document: its prompt, history and events.
        heard: all sound it was sent.
        said: all sound it has sent.
        cuts: where in `said` the learner interrupted.
    """

    document: Mapping[str, Any]
    heard: bytes
    said: bytes
    cuts: Sequence[int]

    @property
    def part(self) -> int:
        """The part whose prompt it was given."""
        lines = self.document["system_prompt"].splitlines()
        return int(next(line.removeprefix("Part: ") for line in lines if line.startswith("Part: ")))

    def events(self, direction: str, name: str) -> list[Mapping[str, Any]]:
        """Events of one name that came `in` or went `out`."""
        return [event for event in self.document["events"] if (event["direction"], event["name"]) == (direction, name)]

    def turns(self, rate: int) -> list[Said]:
        """What it said, turn by turn; how long each sentence sounds follows from its words."""
        turns: list[Said] = []
        cuts = list(self.cuts)
        begin = end = 0

        def close(at: int, *, cut: bool) -> None:
            nonlocal begin, end
            if at > begin:
                turns.append(Said(self.said[begin:at], cut))
            begin = end = at

        for happened in self._course():
            if isinstance(happened, str):
                end += len(speak_plain(happened, rate))
            elif happened is _Mark.TURN_DONE:
                # Sound that has been sent is cut, too, as long as it is still being played.
                close(end, cut=end in cuts)
            else:
                close(max(begin, cuts.pop(0)), cut=True)
        close(end, cut=False)
        return turns

    def _course(self) -> "Iterator[str | _Mark]":
        """The sentences that were begun, in order, and where turns ended or were interrupted."""
        planned: set[str] = set()
        for event in self.document["events"]:
            name = event["name"]
            if event["direction"] == "in":
                continue
            if name == "contentStart" and "SPECULATIVE" in event.get("additionalModelFields", ""):
                planned.add(event["contentId"])
            elif name == "textOutput" and event["contentId"] in planned:
                yield event["content"]
            elif name == "contentEnd" and (event["type"], event["stopReason"]) == ("AUDIO", "END_TURN"):
                yield _Mark.TURN_DONE
            elif name == "contentEnd" and (event["type"], event["stopReason"]) == ("TEXT", "INTERRUPTED"):
                yield _Mark.INTERRUPTED


class _Mark(Enum):
    TURN_DONE = auto()
    INTERRUPTED = auto()


class Nova:
    """The control of the Nova Sonic stand-in."""

    def __init__(self, cloud: Cloud) -> None:
        self._url = cloud.state.nova_control_url
        self._buried: list[HeldStream] = []

    def order(self, fault: str, **fields: Any) -> None:
        """Order a fault; see `infra.local.nova.faults`."""
        self._ask("/faults", {"fault": fault, **fields})

    def reset(self) -> None:
        """Forget the orders that are left."""
        self._ask("/reset", {})

    def die(self) -> None:
        """Kill the stand-in with SIGKILL; what it heard and said until then is still known."""
        for document in json.loads(self._ask("/die", {})[0]):
            heard, said = (base64.b64decode(document.pop(name)) for name in ("heard", "said"))
            if document["closed_at_ms"] is None:
                document["ending"] = "killed"
            self._buried.append(HeldStream(document, heard, said, document["cuts"]))

    @property
    def answers(self) -> bool:
        """Whether the stand-in is there."""
        try:
            self._ask("/metrics")
        except OSError:
            return False
        return True

    def streams_of(self, caller: Caller) -> list[HeldStream]:
        """The streams that heard this caller, in the order they were opened."""
        buried = [stream for stream in self._buried if _is_of(caller, stream.heard)]
        return [*buried, *(self._held(summary["id"]) for summary in self._summaries_of(caller))]

    async def open_stream_of(self, caller: Caller, part: int) -> str:
        """Wait for the stream that holds a part with this caller; returns its id."""
        found: list[str] = []

        def look() -> bool:
            streams = [self._held(summary["id"]) for summary in self._summaries_of(caller, still_open=True)]
            found[:] = [stream.document["id"] for stream in streams if stream.part == part]
            return len(found) == 1

        await asyncio.to_thread(eventually, look)
        return found[0]

    def newest_stream_of(self, caller: Caller) -> str | None:
        """Id of the stream that was opened last, of those that hear this caller now; None if there is none."""
        open_ones = self._summaries_of(caller, still_open=True)
        return open_ones[-1]["id"] if open_ones else None

    def _summaries_of(self, caller: Caller, *, still_open: bool = False) -> list[dict[str, Any]]:
        summaries = json.loads(self._ask("/streams?brief=1")[0])
        return [
            each
            for each in summaries
            if (each["closed_at_ms"] is None or not still_open)
            and _is_of(caller, base64.b64decode(each["heard_first"]))
        ]

    def _held(self, stream: str) -> HeldStream:
        where = f"/streams/{stream}"
        document = json.loads(self._ask(where)[0])
        heard, _ = self._ask(f"{where}/heard")
        said, headers = self._ask(f"{where}/said")
        return HeldStream(document, heard, said, json.loads(headers["x-cuts"]))

    def _ask(self, path: str, document: Any = None) -> tuple[bytes, Mapping[str, str]]:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self._url + path, data=body)  # noqa: S310 - the stand-in's own address
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            return answer.read(), dict(answer.headers)


def _is_of(caller: Caller, heard: bytes) -> bool:
    """Whether this is what the caller's microphone captured."""
    return len(heard) >= _ENOUGH_BYTES and heard[:_ENOUGH_BYTES] in caller.captured


def check_heard(caller: Caller, streams: Sequence[HeldStream]) -> None:
    """Maya heard byte for byte what the phone captured, once and in order, up to the end of the test (I2)."""
    heard = b"".join(stream.heard for stream in streams)
    if not caller.captured.startswith(heard):
        pairs = zip(heard, caller.captured, strict=False)
        wrong = next((place for place, (one, other) in enumerate(pairs) if one != other), len(caller.captured))
        raise AssertionError(f"byte {wrong} of the {len(heard)} that Maya heard is another")
    assert len(heard) >= _least_heard(caller)


def check_played(caller: Caller, streams: Sequence[HeldStream]) -> None:
    """The phone played byte for byte what Maya said, in order, less what barge-in cut (I3).

    A turn that was cut is played up to some place, or not at all.
    """
    assert caller.speaker.recording is not None
    caller.speaker.advance(float("inf"))
    said = [turn for stream in streams for turn in stream.turns(caller.habits.out_rate)]
    assert b"".join(turn.pcm for turn in said) == b"".join(stream.said for stream in streams)
    known = sorted(caller.speaker.turns.items())
    played = [Said(bytes(caller.speaker.recording.get(turn, b"")), heard.cut) for turn, heard in known]
    assert _agree(played, said), f"played {_lengths(played)}, said {_lengths(said)}"
    assert not caller.speaker.refused


def _agree(played: Sequence[Said], said: Sequence[Said]) -> bool:
    """Whether every turn said was played, and nothing else, in order, but for what was cut."""
    if not played and not said:
        return True
    if played and said:
        (sound, cut), (whole, _) = (played[0].pcm, played[0].cut), (said[0].pcm, said[0].cut)
        if (whole.startswith(sound) if cut else whole == sound) and _agree(played[1:], said[1:]):
            return True
    if said and said[0].cut and _agree(played, said[1:]):
        return True
    return bool(played) and played[0] == Said(b"", cut=True) and _agree(played[1:], said)


def _lengths(turns: Sequence[Said]) -> list[str]:
    return [f"{len(turn.pcm)}{' cut' if turn.cut else ''}" for turn in turns]


def check_understood(caller: Caller) -> None:
    """The transcript has every word that the learner spoke, once and in order; two utterances may come as one.

    Who speaks over the last line of the test speaks to nobody.
    """
    heard = "".join(caller.captions("learner")).replace(" ", "")
    *sure, last = (spoken.replace(" ", "") for spoken in caller.utterances)
    assert heard in ("".join(sure), "".join([*sure, last]))


def _least_heard(caller: Caller) -> int:
    """Where the last utterance but one ends."""
    return caller.spoken_to[-2] if len(caller.spoken_to) > 1 else caller.spoken_to[-1]


def check_heard_again(caller: Caller, streams: Sequence[HeldStream]) -> None:
    """Each stream heard an unbroken piece of what the phone captured, and none lacks what the one before it heard last.

    The successor of a lost stream hears again what had no final transcript yet (I2).
    """
    captured = bytes(caller.captured)
    heard_to = 0
    for stream in streams:
        begin = captured.find(stream.heard)
        assert 0 <= begin <= heard_to, (
            f"stream {stream.document['id']} begins at {begin}, what was heard ends at {heard_to}"
        )
        heard_to = begin + len(stream.heard)
    assert heard_to >= _least_heard(caller)
