"""A relay at the end of its conversation: whatever fails, the phone is told and nothing is lost."""

import pytest

from gateway import saving
from gateway.core.conversation.actions import StoreProgress
from gateway.core.errors import SaveFailed, ServiceUnavailable
from tests.relay_stage import SESSION, holding


@pytest.mark.parametrize(
    ("errors", "saved", "outcome"),
    [
        ({"save": SaveFailed("away")}, False, "queued"),
        ({"save": TypeError("quotes something")}, False, "queued"),
        ({"ask_micro": ServiceUnavailable("away")}, True, "saved"),
        ({"ask_micro": KeyError("quotes")}, True, "saved"),
    ],
)
async def test_whatever_fails_at_the_end_the_phone_is_told(errors, saved, outcome):
    """Nothing waits for an answer that never comes."""
    async with holding() as held:
        stream = await held.talk()
        held.world.errors |= errors
        held.stop()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        stream.ends()
    assert [message["saved"] for message in held.world.posts("assessment")] == [saved]
    assert ("assessment_settled", {"outcome": outcome}) in held.world.of("record")
    for name, error in errors.items():
        event = {"ask_micro": "micro"}.get(name, name)
        assert (f"{event}_failed", type(error).__name__) in held.world.of("failure")


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), ValueError("quotes")])
async def test_what_nobody_takes_is_kept_and_the_phone_is_told(error, monkeypatch):
    """Progress holds the written assessment; line and lease are given back; the relay goes on trying, and succeeds."""
    monkeypatch.setattr(saving, "_FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(saving, "_MOST_WAIT_S", 0.01)
    async with holding() as held:
        stream = await held.talk()
        held.world.errors |= {"save": SaveFailed("away"), "enqueue": error}
        held.stop()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        stream.ends()
        await held.world.until(lambda: held.world.of("release_lease") and len(held.world.of("enqueue")) > 2)
        assert [message["saved"] for message in held.world.posts("assessment")] == [False]
        [[progress], *_] = held.world.of("store_progress")[::-1]
        assert (progress["state"], progress["unsaved"]["session_id"]) == ("ended", SESSION)
        assert held.world.of("leave_line")
        held.world.errors.clear()
    records = [fields["outcome"] for event, fields in held.world.of("record") if event == "assessment_settled"]
    assert records[0] == "lost"
    assert records[-1] in ("saved", "queued")  # whichever was asked first once they were back


async def test_a_relay_that_saved_nothing_fails(monkeypatch):
    """Its failure record then has the assessment saved from the session's progress."""
    monkeypatch.setattr(saving, "_LAST_TRY_BEFORE_END_S", 900.0)

    async def converse() -> None:
        async with holding() as held:
            stream = await held.talk()
            held.world.errors |= {"save": SaveFailed("away"), "enqueue": ServiceUnavailable("away")}
            held.stop()
            await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
            stream.ends()

    with pytest.raises(SaveFailed):
        await converse()


async def test_a_relay_that_went_deaf_fails_if_there_are_notes():
    """Another relay may take the session up; if nobody comes back, the failure record has the notes saved."""

    async def converse() -> None:
        async with holding() as held:
            await held.talk()
            held.relay._doers[StoreProgress](StoreProgress({"state": "open", "notes": [{}]}))
            held.relay.deaf()

    with pytest.raises(ServiceUnavailable):
        await converse()
