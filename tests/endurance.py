"""A full test with a loss in each part, over real processes and sockets: ``python -m tests.endurance``.

Every time limit is shortened in proportion, so that thirteen minutes take about one. Maya's stream is reset in part 1,
falls dead in the talk of part 2, and is ended with "System instability" in part 3; or, with ``renewals``, each stream may
live for eight seconds only and is renewed before. Then it is looked at what the phone played and what Maya heard, byte
for byte, what was written down, and how much memory the relay took after each part. Exits with 1 when anything is
lost, doubled or growing.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from client_sim.clock import RealClock
from client_sim.learner import Manner
from gateway.core.messages import Status
from tests.e2e.callers import Caller, Habits
from tests.e2e.clouds import Cloud, launch
from tests.e2e.maya import HeldStream, Nova, check_heard_again

SCALE: Final = 1 / 12
"""The plain voice speaks four times as fast as people do, Maya thinks as long as ever: less would leave no time to speak."""

CLOUD: Final = (
    "--voice",
    "plain",
    "--plan",
    "full",
    "--record",
    "--nova",
    "ears_tempo=4",
    "--nova",
    "playback_scale=1",
)
_FULL_S: Final = {
    "MAYA_WRAP_UP_S": 30.0,
    "MAYA_RENEW_S": 440.0,
    "MAYA_RENEW_BY_S": 465.0,
    "MAYA_RESUME_WITHIN_S": 60.0,
}
NUMBERS: Final = {
    **{name: f"{seconds * SCALE:.2f}" for name, seconds in _FULL_S.items()},
    "MAYA_EXAM_TIME_SCALE": f"{SCALE:.5f}",
    # Maya's thinking and the recoveries are not shortened.
    "MAYA_GO_AWAY_S": f"{780 * SCALE + 20:.2f}",
    "MAYA_TIME_LIMIT_S": f"{810 * SCALE + 20:.2f}",
    # As long as the pauses that end a turn, which are shorter here.
    "MAYA_PAUSE_MS": "750",
    "MAYA_TELL_WITHIN_S": "0.75",
    "MAYA_ASSESS_FROM_S": "0.25",
}
ANSWERS: Final = (
    "i live near the old harbour and i like it there.",
    "my sister taught me to repair bicycles when i was ten.",
    "people should learn from each other more than from a screen.",
)
LOSSES: Final = {1: "rst", 2: "half_open", 3: "instability"}
LIFETIME_S: Final = 8.0
RENEWALS: Final = {"MAYA_RENEW_S": "4", "MAYA_RENEW_BY_S": "6", "MAYA_RENEW_OVERLAP_MS": "750"}
GROWTH_BYTES: Final = 4 * 1024 * 1024
"""More than this between part 1 and the end of part 3 is no noise: the sound of a minute alone is 2.6 MB as base64."""


@dataclass
class Findings:
    """What was seen.

    Attributes:
        renewals: streams are renewed, and none is lost.
        struck_ms: by part, when its stream was lost.
        back_ms: by part, how long after that Maya was next heard.
        rss_bytes: by part, what the relay held when it was over.
        wrong: what must not be.
    """

    renewals: bool = False
    struck_ms: dict[int, float] = field(default_factory=dict)
    back_ms: dict[int, float] = field(default_factory=dict)
    rss_bytes: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def require(self, holds: object, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.wrong.append(what)


def relay_bytes(cloud: Cloud) -> int:
    """What the busy relay holds, in resident bytes."""
    url = f"{cloud.state.lambda_control_url}/processes"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the local cloud's own http address
        functions: list[dict[str, Any]] = json.load(answer)["functions"]
    [relay] = [one for one in functions if one["function"] == "maya-relay"]
    return max((one["rss_bytes"] for one in relay["environments"] if one["busy"]), default=0)


async def hold(cloud: Cloud, findings: Findings) -> tuple[Caller, list[HeldStream]]:
    """Hold the conversation and have Maya's stream lost in each part."""
    nova = Nova(cloud)
    manner = Manner(pause_ms=250, answer_ms=1_200, talk_share=0.6, talk_most=0.8, breath_ms=100)
    caller = Caller(cloud, "endurance", habits=Habits(answers=ANSWERS, manner=manner))
    async with caller.calling():
        for part, fault in LOSSES.items():
            await caller.until(lambda part=part: caller.part == part or caller.over, f"part {part}")  # type: ignore[misc]
            if part > 1:
                findings.rss_bytes[part - 1] = relay_bytes(cloud)
            if findings.renewals:
                continue
            stream = await nova.open_stream_of(caller, part)
            await caller.until(_moment(caller, part), f"the moment of part {part}")
            findings.struck_ms[part] = RealClock().now_ms()
            nova.order(fault, scope=stream)
        await caller.until(lambda: caller.over or caller.state == "assessing", "the end of part 3")
        findings.rss_bytes[3] = relay_bytes(cloud)
        await caller.ends()
    return caller, nova.streams_of(caller)


def _moment(caller: Caller, part: int) -> Any:
    """Maya is heard in part 1, the learner in the others: in part 2 in the middle of the talk."""
    if part == 1:
        said = len(caller.captions("learner"))
        return lambda: caller.hears_maya and len(caller.captions("learner")) > said
    return lambda: caller.speaks and caller.part == part


def examine(caller: Caller, streams: Sequence[HeldStream], findings: Findings) -> None:
    """Look whether anything was lost, doubled or cut."""
    try:
        check_heard_again(caller, streams)
    except AssertionError as error:
        findings.wrong.append(str(error))
    check_written(caller, findings)
    check_played(caller, streams, findings)
    maya = caller.captions("maya")
    findings.require(len(set(maya)) == len(maya), "a caption of Maya's came twice")
    parts = [stream.part for stream in streams]
    findings.require(set(parts) == {1, 2, 3} and parts == sorted(parts), f"streams of parts {parts}")
    if findings.renewals:
        ends = {stream.document["ending"] for stream in streams}
        findings.require(ends == {"finished"} and len(parts) > 9, f"{len(parts)} streams, which ended with {ends}")
    else:
        findings.require(parts == [1, 1, 2, 2, 3, 3], f"streams of parts {parts}")
    findings.require(caller.assessment.status == "complete", "the assessment is not complete")
    findings.require(caller.over is not None and caller.over.bye == "finished", f"it ended with {caller.over}")
    findings.require(
        caller.speaker.gaps.longest_ms < 600, f"a gap of {caller.speaker.gaps.longest_ms:.0f} ms in a turn"
    )
    heard = sorted(turn.first_sound_ms for turn in caller.speaker.turns.values() if turn.first_sound_ms is not None)
    for part, at_ms in findings.struck_ms.items():
        findings.back_ms[part] = next((sound for sound in heard if sound > at_ms), at_ms) - at_ms
    growth = findings.rss_bytes[3] - findings.rss_bytes[1]
    findings.require(min(findings.rss_bytes.values()) > 0, "the relay was not found")
    findings.require(growth < GROWTH_BYTES, f"the relay grew by {growth / 1e6:.1f} MB from part 1 to part 3")


def check_written(caller: Caller, findings: Findings) -> None:
    """The transcript has what the learner said, in the order of the answers, each once; an exchange has one or more."""
    heard = "".join(caller.captions("learner")).replace(" ", "")
    written = 0
    for answer in itertools.cycle(answer.replace(" ", "") for answer in ANSWERS):
        if not heard.startswith(answer):
            break
        heard, written = heard.removeprefix(answer), written + 1
    # Who speaks over the last line of the test speaks to nobody.
    findings.require(not heard and written >= len(caller.utterances) - 1, f"after answer {written} comes: {heard!r}")


def check_played(caller: Caller, streams: Sequence[HeldStream], findings: Findings) -> None:
    """What the phone played is what Maya said, in order, less the end of what was lost on the way with a stream."""
    caller.speaker.advance(float("inf"))
    said = [(turn, stream) for stream in streams for turn in stream.turns(caller.habits.out_rate)]
    lengths = [f"{len(turn.pcm)}{' cut' if turn.cut else ''} of {stream.part}" for turn, stream in said]
    recording = caller.speaker.recording or {}
    for number, pcm in recording.items():
        played = bytes(pcm)
        while said:
            turn, stream = said.pop(0)
            may_break = caller.speaker.turns[number].cut or stream.document["ending"] != "finished"
            if turn.pcm == played or (may_break and turn.pcm.startswith(played)):
                break
        else:
            heard = [
                f"{len(each)}{' cut' if caller.speaker.turns[turn].cut else ''}" for turn, each in recording.items()
            ]
            findings.wrong.append(f"turn {number} was never said like this: played {heard}, said {lengths}")
            return


def tell(caller: Caller, streams: Sequence[HeldStream], findings: Findings, seconds: float) -> str:
    """Say what was seen."""
    told = [status for status in caller.messages(Status) if status.state == "reconnecting"]
    gap_ms = caller.speaker.gaps.longest_ms
    lines = [
        f"{seconds:.0f} s of test, {len(streams)} streams, {len(caller.utterances)} answers",
        f"longest gap within a turn {gap_ms:.0f} ms, reconnecting told {len(told)} times",
        "part  fault         next heard after  relay after the part",
    ]
    for part, fault in LOSSES.items() if not findings.renewals else ((part, "none") for part in LOSSES):
        rss_mb = findings.rss_bytes.get(part, 0) / 1e6
        lines.append(f"{part:<5} {fault:<13} {findings.back_ms.get(part, 0.0):>10.0f} ms     {rss_mb:>10.1f} MB")
    lines += [f"WRONG: {what}" for what in findings.wrong] or ["nothing lost, nothing doubled, nothing growing"]
    return "\n".join(lines)


def main() -> int:
    """Hold the test and tell what was seen; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__.partition("\n\n")[0])
    parser.add_argument("what", nargs="?", choices=["losses", "renewals"], default="losses")
    findings = Findings(renewals=parser.parse_args().what == "renewals")
    numbers, arguments = dict(NUMBERS), list(CLOUD)
    if findings.renewals:
        numbers |= RENEWALS
        arguments += ["--nova", f"lifetime_ms={LIFETIME_S * 1000:.0f}"]
    with (
        tempfile.TemporaryDirectory() as folder,
        launch(Path(folder) / "s.json", *arguments, environment=numbers) as cloud,
    ):
        began_s = time.monotonic()
        caller, streams = asyncio.run(hold(cloud, findings))
        seconds = time.monotonic() - began_s
    examine(caller, streams, findings)
    sys.stdout.write(tell(caller, streams, findings, seconds) + "\n")
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
