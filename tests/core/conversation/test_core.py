"""The conversation as its shell sees it: beginnings, shutdown, faults of our own, and timers that ring when they must."""

import base64

import pytest

from gateway.core.assessment import Assessment, Basis, PartNotes, join_parts, parse_part_notes
from gateway.core.assessment.text import COMMENT_BYTES, POINT_BYTES, SUMMARY_BYTES
from gateway.core.conversation import State
from gateway.core.conversation.actions import Admit, Finish, OpenStream, SendEvents
from gateway.core.conversation.inputs import Admission, AdmissionSettled, ShutdownAsked, StreamSaid
from gateway.core.conversation.invigilator import Invigilator
from gateway.core.messages import MAX_MESSAGE_BYTES
from gateway.core.nova_events import (
    AudioOutput,
    ContentEnd,
    ContentKind,
    ContentStart,
    Role,
    Stage,
    StopReason,
    TextOutput,
)
from tests.core.conversation.scene import EPOCH, GOOD_CALL, SESSION, START, Scene


def admitting() -> Scene:
    scene = Scene()
    scene.say(START)
    return scene


def connecting() -> Scene:
    scene = admitting()
    scene.tell(AdmissionSettled(Admission.GRANTED))
    return scene


def answered() -> Scene:
    scene = Scene().talk()
    scene.learner()
    return scene


def stopped() -> Scene:
    scene = answered()
    scene.stop()
    return scene


def noted() -> Scene:
    scene = stopped()
    scene.call_tool(1)
    return scene


def saving() -> Scene:
    scene = noted()
    scene.tell_micro_failed(0)
    return scene


def parting() -> Scene:
    scene = Scene().assessed()
    scene.acknowledge_all()
    scene.wait(1)
    return scene


STEPS = {
    State.IDLE: Scene,
    State.ADMITTING: admitting,
    State.CONNECTING: connecting,
    State.TALKING: answered,
    State.ASSESSING: stopped,
    State.SUMMARISING: noted,
    State.SAVING: saving,
    State.DELIVERING: lambda: Scene().assessed(),
    State.PARTING: parting,
}


def test_the_steps_are_what_they_say():
    """Each scene stands where its name says."""
    assert {state: make().state for state, make in STEPS.items()} == {state: state for state in STEPS}


# --- Beginnings -----------------------------------------------------------------------------------------------------


def test_start_repeated_begins_once():
    """Each second until `ready`."""
    scene = Scene()
    for _ in range(3):
        scene.say(START)
        scene.wait(1_000)
    assert len(scene.of(Admit)) == 1
    scene.tell(AdmissionSettled(Admission.GRANTED))
    scene.tell(AdmissionSettled(Admission.GRANTED))
    assert len(scene.of(OpenStream)) == 1


def test_a_relay_that_nobody_talks_to_ends():
    """After half a minute, with no timer in between."""
    scene = Scene()
    scene.wait(29_999)
    assert scene.ticks == 0
    scene.wait(1)
    assert scene.actions == [Finish()]


def test_a_phone_that_left_before_the_line_was_open_finds_it_open():
    """Its `start` comes again by another connection."""
    scene = connecting()
    scene.leave()
    scene.say(START, "b", 2)
    scene.open()
    assert [ready["n"] for ready in scene.told("ready", "b")] == [scene.told("ready", "b")[0]["n"]]


def test_a_phone_that_left_before_the_line_was_open_and_stays_away_costs_no_line():
    """The resume window ends the wait."""
    scene = connecting()
    scene.leave()
    scene.wait(60_001)
    assert scene.state is State.ENDED


# --- Shutdown -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STEPS)
def test_a_replaced_relay_leaves_at_once(state):
    """From any state, without a word to the phone: another relay has it."""
    scene = STEPS[state]()
    posts, connections = len(scene.posts), scene.disconnected()
    scene.tell(ShutdownAsked(replaced=True))
    assert scene.state is State.ENDED
    assert scene.of(Finish)
    assert len(scene.posts) == posts
    assert scene.disconnected() == connections
    assert scene.conversation._line.find(1) is None


@pytest.mark.parametrize("state", STEPS)
def test_a_relay_that_must_end_is_over_in_time(state):
    """From any state: what was said is saved within a quarter of a minute, whoever keeps it waiting."""
    scene = STEPS[state]()
    scene.tell(ShutdownAsked(replaced=False))
    scene.wait(10_000)
    if scene.state is State.SAVING:
        scene.save()
    scene.wait(7_100)
    assert scene.state is State.ENDED
    assert bool(scene.saved()) is (state not in (State.IDLE, State.ADMITTING, State.CONNECTING))


def test_maintenance_is_what_bye_says():
    """The learner is told why."""
    scene = answered()
    scene.tell(ShutdownAsked(replaced=False))
    scene.call_tool(1)
    scene.save()
    scene.acknowledge_all()
    scene.wait(1)
    assert scene.told("bye")[0]["reason"] == "maintenance"


# --- Faults of our own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STEPS)
def test_a_fault_of_our_own_never_raises_and_ends_in_order(state):
    """From any state: what was said is saved, and the phone is told an id to quote."""
    scene = STEPS[state]()
    for _ in range(3):
        scene.conversation.fail(scene.now_ms)
        scene._do()
    told = len(scene.told("error"))
    scene.wait(50_000)
    if scene.state is State.SAVING:
        scene.save()
    scene.wait(50_000)
    assert scene.state is State.ENDED
    failed = state in (State.ADMITTING, State.CONNECTING, State.TALKING)
    assert len(scene.recorded("conversation_failed")) == failed
    codes = [error["code"] for error in scene.told("error")]
    assert codes == ["internal"] * failed
    assert told <= len(codes)


# --- Timers ---------------------------------------------------------------------------------------------------------


def test_an_idle_conversation_ticks_for_acknowledgements_alone():
    """Nobody speaks and the phone is there: two timers a second."""
    scene = Scene(nudge_s=1e6).talk()
    scene.wait(3_000, talking=True)
    ticks = scene.ticks
    for _ in range(20):
        scene.wait(500)
        scene.acknowledge_all()
    assert scene.ticks - ticks <= 22


def test_a_conversation_without_a_phone_hardly_ticks():
    """Nothing is to be done until it is back, or for good."""
    scene = Scene(nudge_s=1e6).talk()
    scene.leave()
    ticks = scene.ticks
    scene.wait(59_000)
    assert scene.ticks - ticks <= 3


@pytest.mark.parametrize("state", STEPS)
def test_no_timer_rings_for_ever(state):
    """In whatever state nothing happens any more, time goes on (the scene watches that), and the end comes."""
    scene = STEPS[state]()
    scene.wait(1_000_000)
    assert scene.state in (State.ENDED, State.ADMITTING, State.SAVING)


# --- The largest message --------------------------------------------------------------------------------------------


def test_the_largest_assessment_fits_a_message():
    """All texts as long as they may be, of letters that take two bytes: the relay can always tell it."""
    comment, point = (
        "\N{CYRILLIC CAPITAL LETTER SHA}" * (COMMENT_BYTES // 2),
        "\N{CYRILLIC CAPITAL LETTER SHA}" * (POINT_BYTES // 2),
    )
    call = {name: {"band": 9, "comment": comment} for name in GOOD_CALL if name not in ("strengths", "next_steps")}
    notes: list[PartNotes] = [
        parse_part_notes({**call, "strengths": [point] * 5, "next_steps": [point] * 5}, part=part, basis=Basis.HEARD)
        for part in (1, 2, 3)
    ]
    assessment = join_parts(
        notes,
        spoken_ms_by_part=dict.fromkeys((1, 2, 3), 86_400_000 / 3),
        session_id=SESSION,
        module="academic_speaking",
        epoch=EPOCH,
        created_at="2026-11-20T12:00:00.000+00:00",
    )
    points = tuple([point] * 5)
    summary = "\N{CYRILLIC CAPITAL LETTER SHA}" * (SUMMARY_BYTES // 2)
    largest = Assessment.model_validate(
        assessment.model_dump() | {"summary": summary, "strengths": points, "next_steps": points}
    )
    scene = Scene(ended=largest)
    scene.say(START)
    scene.wait(1)
    [told] = scene.told("assessment")
    assert Assessment.model_validate(told["assessment"]) == largest
    assert len(str(told).encode()) < MAX_MESSAGE_BYTES


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a conversation was looked at as a whole."""
    noted: list[float] = []
    follow = Invigilator.follow

    def noting(invigilator: Invigilator, now_ms: float) -> bool:
        noted.append(now_ms)
        over: bool = follow(invigilator, now_ms)
        return over

    monkeypatch.setattr(Invigilator, "follow", noting)
    return noted


def test_what_happens_at_once_is_taken_in_order_and_looked_at_once(looks):
    """As if it had come one after the other; nothing is taken after the end."""
    scene, other = Scene().talk(), Scene().talk()
    looks.clear()
    sound = AudioOutput("a", base64.b64encode(bytes(480)).decode(), 480)
    said = [
        ContentStart("t", ContentKind.TEXT, Role.ASSISTANT, Stage.SPECULATIVE),
        TextOutput("t", Role.ASSISTANT, "Where do you live?"),
        ContentStart("a", ContentKind.AUDIO, Role.ASSISTANT, None),
        sound,
        ContentEnd("a", ContentKind.AUDIO, StopReason.END_TURN),
    ]
    events = [StreamSaid(1, one) for one in said]
    scene.conversation.handle_all(events, scene.now_ms)
    assert len(looks) == 1
    for event in events:
        other.conversation.handle(event, other.now_ms)
    assert len(looks) > 2
    for one in (scene, other):
        one.wait(1_000)
    assert scene.told("transcript")[-1]["text"] == "Where do you live?"
    assert scene.told() == other.told()
    scene.conversation.handle_all([ShutdownAsked(replaced=True), *events], scene.now_ms)
    assert scene.conversation.state is State.ENDED


def test_while_a_talk_flows_the_whole_is_looked_at_five_times_a_second(looks):
    """Between, frames and pieces of Maya's speech are passed on at once all the same, and what else happens is looked at."""
    scene = Scene().talk()
    scene.wait(1_000, talking=True)
    piece = AudioOutput("a", base64.b64encode(bytes(480)).decode(), 480)
    looks.clear()
    sent, posted = len(scene.of(SendEvents)), len(scene.told("audio"))
    for number in range(1, 31):
        scene.wait(10)
        scene.audio()
        assert len(scene.of(SendEvents)) == sent + number
        scene.hear(piece)
        assert len(scene.told("audio")) == posted + number
        kept = scene.conversation.next_timer_ms(scene.now_ms)
        scene.conversation._has_steady = False
        assert scene.conversation.next_timer_ms(scene.now_ms) == kept
    assert 1 <= len(looks) <= 4
    scene.hear(ContentEnd("a", ContentKind.AUDIO, StopReason.END_TURN))
    assert looks[-1] == scene.now_ms
    scene.wait(1)
    scene.leave()
    assert looks[-1] == scene.now_ms
