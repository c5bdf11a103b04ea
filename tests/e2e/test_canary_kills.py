"""No sound and no words of a conversation are kept anywhere (I1), also when processes die and freeze under it.

The conversations are those of `kills`. Besides the places of `test_canary`, which also shows that the search finds what is there, this
is about what the dead leave behind: files, logs, memory written to disk, records of failed invocations.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.kills import KILLED, LEFT
from tests.e2e.marks import Marks
from tests.e2e.places import everywhere, marks_of, spoken
from tests.e2e.talks import Watched


@pytest.fixture(scope="module")
def places(shaken: Watched) -> list[tuple[str, bytes]]:
    """Everything that could have kept something, by name."""
    return list(everywhere(shaken))


@pytest.fixture(scope="module")
def marks(shaken: Watched) -> Marks:
    """Every sound and every word of all the conversations."""
    return marks_of(shaken)


def test_nothing_of_the_conversations_is_anywhere(marks, places):
    """No sound, and no run of more than eight words, in any dress."""
    found = marks.search(places)
    assert not found, "\n".join(f"{find.dress} in {find.place}: {find.around!r}" for find in found)


def test_the_marks_are_those_of_whole_conversations(shaken, marks):
    """What is looked for was really captured, played and shown, in every conversation; in each place it would be found."""
    for talk in shaken.talks.values():
        texts = [text for text in spoken(talk) if len(text.split()) > 8]
        assert len(talk.caller.captured) > 100_000
        assert any(text in talk.caller.captions("maya") for text in texts)
        assert marks.search([("sound", bytes(talk.caller.captured)[50_000:51_000])])
        assert all(marks.search([("words", json.dumps(text).encode())]) for text in texts)


def test_the_failures_of_the_dead_were_recorded(shaken, places):
    """The queue got a record for each relay that was killed, with the learner's id and what Lambda says of the death; no more."""
    told = b"".join(content for place, content in places if place == "told sqs").decode("latin-1")
    records = [record for record in _documents(told) if "requestPayload" in record]
    dead = {shaken.talk(name).caller.learner for name in (*KILLED, LEFT)}
    assert {record["requestPayload"]["learner"] for record in records} == dead
    for record in records:
        assert record["requestPayload"].keys() == {"version", "learner"}
        assert record["responsePayload"].keys() == {"errorType", "errorMessage"}
        assert record["responsePayload"]["errorType"] == "Runtime.ExitError"


def test_redis_was_watched_through_its_deaths(shaken):
    """Before and after: keys of all learners were seen, and the keys of the last server are those of sessions that are over."""
    assert shaken.watch.polls > 200
    learners = {talk.caller.learner for talk in shaken.talks.values()}
    assert all(any(learner.encode() in key for key, _ in shaken.watch.keys) for learner in learners)


def _documents(told: str) -> Iterator[Any]:
    """Every JSON object within messages to SQS, whose bodies are JSON within JSON."""
    decoder = json.JSONDecoder()
    place = told.find('{"QueueUrl"')
    while place >= 0:
        request, end = decoder.raw_decode(told, place)
        if "MessageBody" in request:
            yield json.loads(request["MessageBody"])
        place = told.find('{"QueueUrl"', end)
