"""Whole conversations: the phone's core and shell, real sockets, the gateway's functions, the real SDKs, a real Valkey.

Messages arrive out of order all the time; what is said here of bytes holds in spite of it.
"""

import json
import uuid
from typing import Any

import pytest

from gateway.core.assessment import Assessment, Basis
from gateway.core.messages import AssessmentMessage, Part
from tests.e2e.clouds import eventually
from tests.e2e.maya import check_heard, check_heard_again, check_played, check_understood
from tests.e2e.raw_phone import RawPhone
from tests.e2e.stored import check_stored, stored_items, stored_profile
from tests.e2e.talks import Talk, Watched

WHOLE = ("calm", "twice", "lossy", "dropped", "over")


@pytest.fixture(params=WHOLE)
def whole(request: pytest.FixtureRequest, watched: Watched) -> Talk:
    """A conversation over all parts: on a good line; one that sends everything twice; one that loses the first sending
    of messages; one that breaks in every part; and one in which the learner speaks over Maya."""
    return watched.talk(request.param)


def test_maya_heard_what_the_phone_captured(whole):
    """Byte for byte, once and in order, over three streams, whatever the line did."""
    check_heard(whole.caller, whole.streams)


def test_the_phone_played_what_maya_said(whole):
    """Byte for byte, once and in order, less what barge-in cut."""
    check_played(whole.caller, whole.streams)


def test_every_word_is_in_the_transcript_once(whole):
    """What the learner spoke is what the captions say."""
    check_understood(whole.caller)


def test_each_part_has_a_stream_of_its_own(whole):
    """Three streams, each with the prompt of its part, the later ones seeded with what was said; each ended in order."""
    assert [stream.part for stream in whole.streams] == [1, 2, 3]
    assert [part.part for part in whole.caller.messages(Part)] == [1, 2, 3]
    first, *others = whole.streams
    assert first.document["history"] == []
    for stream in others:
        assert [said["role"] for said in stream.document["history"]][:2] == ["USER", "ASSISTANT"]
    for stream in whole.streams:
        assert stream.document["ending"] == "finished"
        assert stream.document["inputs"]["sessionEnd"] == 1


def test_each_part_is_assessed_by_the_stream_that_heard_it(whole):
    """One call of the tool on each stream, and the written assessment says that all was heard."""
    for stream in whole.streams:
        assert [call["toolName"] for call in stream.events("out", "toolUse")] == ["assess_part"]
    assessment = whole.caller.assessment
    assert assessment.status == "complete"
    assert [part.part for part in assessment.parts] == [1, 2, 3]
    assert {note.basis for part in assessment.parts for _, note in part.criteria.present()} == {Basis.HEARD}
    assert assessment.criteria.pronunciation is not None


def test_the_assessment_is_saved_once(watched, whole):
    """One item that is a valid assessment, the same in the profile, the same as the phone was shown."""
    [shown] = whole.caller.messages(AssessmentMessage)
    assert shown.saved
    assert check_stored(watched.cloud, whole.caller) == whole.caller.assessment


def test_the_conversation_is_taken_leave_of(whole):
    """`bye` says that it is finished, and no error was told."""
    assert whole.caller.over is not None
    assert whole.caller.over.bye == "finished"
    assert whole.caller.phone.figures.errors == whole.caller.phone.figures.bad == 0


def test_the_lines_were_as_bad_as_they_should_be(watched):
    """The doubled, lost and broken messages and connections were really there."""
    assert watched.talk("twice").caller.phone.figures.duplicates > 100
    lossy = watched.talk("lossy").caller
    assert lossy.line.lost > 10
    assert lossy.phone.uplink.resent > 0
    assert watched.talk("dropped").caller.phone.figures.reconnects == 3


def test_a_lost_stream_is_followed_by_another(watched):
    """Maya's stream dies in part 2, after a drop of the phone and messages that break the contract; nothing is lacking."""
    talk = watched.talk("hurt")
    assert [(stream.part, stream.document["ending"]) for stream in talk.streams] == [
        (1, "finished"),
        (2, "exception"),
        (2, "finished"),
        (3, "finished"),
    ]
    check_heard_again(talk.caller, talk.streams)
    check_understood(talk.caller)
    assert talk.caller.phone.figures.reconnects == 1
    assert talk.caller.phone.figures.errors
    assert check_stored(watched.cloud, talk.caller).status == "complete"


def test_a_bad_tool_call_is_corrected(watched):
    """The answer to the first call names the fault, the second one is right, and the part counts as heard."""
    talk = watched.talk("corrected")
    first = talk.streams[0]
    assert len(first.events("out", "toolUse")) == 2
    [refusal, thanks] = [json.loads(event["content"]) for event in first.events("in", "toolResult")]
    assert "error" in refusal
    assert thanks == {"status": "saved"}
    saved = check_stored(watched.cloud, talk.caller)
    assert [part.part for part in saved.parts] == [1]
    assert saved.parts[0].criteria.fluency_coherence.basis is Basis.HEARD
    assert events_of(watched, "relay", epoch=saved.epoch).count("assessment_corrected") == 1


def test_a_phone_that_just_leaves_is_assessed_by_nova_micro(watched):
    """The part that was under way is assessed from its transcript, without pronunciation; saved though nobody waits."""
    talk = watched.talk("left")
    saved = check_stored(watched.cloud, talk.caller)
    assert saved.status == "partial"
    first, second = saved.parts
    assert {note.basis for _, note in first.criteria.present()} == {Basis.HEARD}
    assert {note.basis for _, note in second.criteria.present()} == {Basis.TRANSCRIPT}
    assert second.criteria.pronunciation is None
    assert not talk.caller.messages(AssessmentMessage)


def test_an_assessment_is_saved_from_the_queue_when_dynamodb_was_away(watched):
    """The phone is told that it is not saved yet; when DynamoDB is back, the finish function saves it."""
    talk = watched.talk("queued")
    [shown] = talk.caller.messages(AssessmentMessage)
    assert not shown.saved
    assert any(talk.caller.session_id.encode() in told for told in watched.sqs.told)
    saved = check_stored(watched.cloud, talk.caller)
    assert saved == talk.caller.assessment
    assert {"save_failed", "assessment_settled"} <= set(events_of(watched, "relay", epoch=saved.epoch))


def test_saving_again_changes_nothing(watched):
    """The same assessment comes twice more from the queue: one item, as it was."""
    caller = watched.talk("calm").caller
    before = stored_items(watched.cloud, caller.learner), stored_profile(watched.cloud, caller.learner)
    message = {"version": 1, "learner": caller.learner, "assessment": caller.assessment.model_dump(mode="json")}
    for _ in range(2):
        watched.cloud.client("sqs").send_message(
            QueueUrl=watched.cloud.state.finish_queue_url, MessageBody=json.dumps(message)
        )
    eventually(lambda: len(outcomes_of(watched, caller.learner)) == 2)
    assert outcomes_of(watched, caller.learner) == ["unchanged", "unchanged"]
    assert before == (stored_items(watched.cloud, caller.learner), stored_profile(watched.cloud, caller.learner))
    assert len(before[0]) == 1


def test_an_older_relay_does_not_overwrite(watched):
    """An assessment of the same session by a relay with a lower epoch is left where it is."""
    caller = watched.talk("dropped").caller
    before = stored_items(watched.cloud, caller.learner)
    older = Assessment.model_validate(caller.assessment.model_dump() | {"epoch": 1, "summary": "An older one."})
    message = {"version": 1, "learner": caller.learner, "assessment": older.model_dump(mode="json")}
    watched.cloud.client("sqs").send_message(
        QueueUrl=watched.cloud.state.finish_queue_url, MessageBody=json.dumps(message)
    )
    eventually(lambda: outcomes_of(watched, caller.learner))
    assert outcomes_of(watched, caller.learner) == ["outdated"]
    assert stored_items(watched.cloud, caller.learner) == before


async def test_a_phone_that_missed_its_assessment_gets_it(watched):
    """The app comes back after the end: another relay tells the saved assessment and takes leave; nothing is saved again."""
    caller = watched.talk("calm").caller
    before = stored_items(watched.cloud, caller.learner)
    token = watched.cloud.token(caller.learner)
    async with RawPhone.connected(watched.cloud, token, session_id=caller.session_id) as phone:
        phone.resume()
        told = await phone.next("assessment")
        assert (await phone.next("bye"))["reason"] == "finished"
    assert Assessment.model_validate(told["assessment"]) == caller.assessment
    assert told["saved"]
    assert stored_items(watched.cloud, caller.learner) == before


async def test_another_session_ends_the_open_one(watched):
    """The learner begins anew on another phone: the first one is told so, the second one gets Maya."""
    learner = f"twice-{uuid.uuid4().hex[:8]}"
    token = watched.cloud.token(learner)
    async with RawPhone.connected(watched.cloud, token) as first, RawPhone.connected(watched.cloud, token) as second:
        await first.begin()
        assert (await second.begin())["session_id"] == second.session_id
        assert (await first.next("bye"))["reason"] == "replaced"
        await first.end()


def test_the_relays_left_nothing_behind(watched):
    """All lines are given back, nobody holds a lease, and what is left of the sessions says that they are over."""
    cloud = watched.cloud
    with cloud.redis() as redis:
        eventually(lambda: not redis.zcard("maya:{lines}:held"))
        assert not list(redis.scan_iter("maya:*:lease"))
        learners = [talk.caller.learner for talk in watched.talks.values()]
        sessions = [json.loads(redis.get(f"maya:{{{learner}}}:session") or b"{}") for learner in learners]
    assert [session["state"] for session in sessions] == ["ended"] * len(learners)


def log_of(watched: Watched, function: str) -> list[dict[str, Any]]:
    """The lines that a function has logged in JSON."""
    lines = watched.cloud.log(f"functions/maya-{function}").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def events_of(watched: Watched, function: str, *, epoch: int) -> list[str]:
    """Names of what one relay has logged."""
    return [line["event"] for line in log_of(watched, function) if line.get("epoch") == epoch and "event" in line]


def outcomes_of(watched: Watched, learner: str) -> list[str]:
    """What the finish function's saves for a learner came to."""
    lines = log_of(watched, "finish")
    return [line["outcome"] for line in lines if line.get("event") == "finish_saved" and line["learner"] == learner]
